// SPDX-License-Identifier: Apache-2.0
// What append_kv refuses: every slot and position is looked at before anything is written.
#include "src/backend.hpp"
#include "src/resolve.hpp"
#include "src/validate_tables.hpp"
#include "src/validate_tensors.hpp"

namespace attnrt {
namespace {

Status check_rows(const AppendArgs& args, const ArgNames& names) {
  const KvView& kv = args.kv;
  const int64_t total = args.k.shape[0];
  if (total < 0) return refuse("k.shape[0] is ", total, ", must not be negative");
  if (Status s = check_tensor(
          {"k"}, args.k,
          {{{total, "new tokens"}, {kv.num_heads_kv, "num_heads_kv"}, {kv.head_dim, "head_dim"}}},
          Access::kRead);
      !s.ok()) {
    return s;
  }
  if (Status s = check_same_device("k", args.k.device, names.kv, kv.device); !s.ok()) return s;
  if (!appends_values(args)) return {};
  if (Status s = check_tensor({"v"}, args.v,
                              {{{total, "new tokens of k"},
                                {kv.num_heads_kv, "num_heads_kv"},
                                {kv.head_dim_v, "head_dim_v"}}},
                              Access::kRead);
      !s.ok()) {
    return s;
  }
  return check_same_device("v", args.v.device, names.kv, kv.device);
}

Status check_memory(const AppendArgs& args, const ArgNames& names) {
  const std::array<NamedRange, 2> rotary = ranges_of(args.rotary, names);
  const NamedRange inputs[] = {range_of({"k"}, args.k), rotary[0], rotary[1],
                               range_of({"v"}, args.v)};
  const bool values = appends_values(args);
  const std::span<const NamedRange> read(inputs, values ? 4 : 3);
  const std::array<NamedRange, 2> written = ranges_of(names.kv, args.kv);
  for (const NamedRange& cache : std::span(written.data(), values ? 2 : 1)) {
    if (Status s = check_apart(cache, read); !s.ok()) return s;
  }
  if (!args.kv.v_is_k_prefix && args.kv.k == args.kv.v && args.kv.k != nullptr) {
    return refuse(names.kv, ".v is ", names.kv, ".k, which needs v_is_k_prefix");
  }
  return {};
}

Status check_position(int64_t token, int64_t position, const AppendArgs& args,
                      const ArgNames& names) {
  if (position >= 0 && position < args.rotary.max_position) return {};
  return refuse("rotary_positions[", token, "] is ", position, ", ", names.rotary_limit, " is ",
                args.rotary.max_position);
}

Status check_slot_mapping(const AppendArgs& args, const ArgNames& names) {
  const int64_t total = args.k.shape[0];
  if (!args.cu_seqlens_new.empty()) {
    return refuse("slot_mapping and ", names.cu_seqlens_new, " are both given");
  }
  if (!args.cache_seqlens.empty()) {
    return refuse("slot_mapping and cache_seqlens are both given");
  }
  if (!args.cu_seqlens_k.empty()) return refuse("slot_mapping and cu_seqlens_k are both given");
  if (!args.block_table.pages.empty() || args.block_table.is_csr()) {
    return refuse("slot_mapping and block_table are both given");
  }
  if (static_cast<int64_t>(args.slot_mapping.size()) != total) {
    return refuse("slot_mapping has ", args.slot_mapping.size(), " entries, must have ", total,
                  " (new tokens)");
  }
  const bool rotated = args.rotary.cos != nullptr;
  if (rotated && args.rotary_positions.empty() && total > 0) {
    return refuse("rotary_positions is empty, slot_mapping with rotary needs it");
  }
  for (int64_t token = 0; token < total; ++token) {
    const auto i = static_cast<size_t>(token);
    const int64_t slot = args.slot_mapping[i];
    if (slot < -1 || slot >= args.kv.num_tokens) {
      return refuse("slot_mapping[", token, "] is ", slot, ", must be -1 (skip) or 0..",
                    args.kv.num_tokens - 1, " (slots of the cache)");
    }
    if (slot < 0 || !rotated) continue;
    if (Status s = check_position(token, args.rotary_positions[i], args, names); !s.ok()) return s;
  }
  return {};
}

// What stands on the device is not looked at.
Status check_device_slots(const AppendArgs& args) {
  if (args.kv.device == Device::kCpu) {
    return refuse("device_slots is given, kv is in host memory");
  }
  if (!args.slot_mapping.empty() || !args.cu_seqlens_new.empty() || !args.cache_seqlens.empty() ||
      !args.cu_seqlens_k.empty() || !args.block_table.pages.empty() ||
      !args.rotary_positions.empty()) {
    return refuse("device_slots and lists in host memory are both given");
  }
  if (args.rotary.cos != nullptr && args.device_slots.rotary_positions == nullptr) {
    return refuse("device_slots.rotary_positions is null, rotary needs it");
  }
  return {};
}

Status check_lists(const AppendArgs& args, const ArgNames& names) {
  const KvView& kv = args.kv;
  const BlockTable& table = args.block_table;
  if (args.cu_seqlens_new.empty()) {
    return refuse(names.cu_seqlens_new, " and slot_mapping are both empty, one must say where ",
                  args.k.shape[0], " new tokens go");
  }
  const auto batch = static_cast<int64_t>(args.cu_seqlens_new.size()) - 1;
  if (Status s = check_prefix_sums({names.cu_seqlens_new}, args.cu_seqlens_new, batch + 1);
      !s.ok()) {
    return s;
  }
  if (args.cu_seqlens_new.back() != args.k.shape[0]) {
    return refuse(names.cu_seqlens_new, "[", batch, "] is ", args.cu_seqlens_new.back(), ", k has ",
                  args.k.shape[0], " tokens");
  }
  if (Status s = check_entries({"cache_seqlens"}, args.cache_seqlens.size(), batch); !s.ok()) {
    return s;
  }
  if (kv.layout == KvLayout::kPacked) {
    if (table.paged() || !table.pages.empty() || table.is_csr()) {
      return refuse("block_table is given, ", names.kv, ".layout is packed");
    }
    if (Status s = check_prefix_sums({"cu_seqlens_k"}, args.cu_seqlens_k, batch + 1); !s.ok()) {
      return s;
    }
    if (args.cu_seqlens_k.back() <= kv.num_tokens) return {};
    return refuse("cu_seqlens_k[", batch, "] is ", args.cu_seqlens_k.back(), ", ", names.kv,
                  " has ", kv.num_tokens, " keys");
  }
  if (!args.cu_seqlens_k.empty()) {
    return refuse("cu_seqlens_k is given, ", names.kv, ".layout is ", to_string(kv.layout));
  }
  if (table.page_size != kv.page_size) {
    return refuse("block_table.page_size is ", table.page_size, ", ", names.kv, ".page_size is ",
                  kv.page_size);
  }
  return check_block_table(table, batch);
}

Status check_room(const AppendArgs& args, int64_t b, int64_t used, int64_t added) {
  const auto i = static_cast<size_t>(b);
  if (used < 0) return refuse("cache_seqlens[", b, "] is ", used, ", must not be negative");
  if (args.block_table.paged()) {
    if (used + added <= table_slots(args.block_table, b)) return {};
    return refuse("cache_seqlens[", b, "] is ", used, " and ", added, " new tokens follow, ",
                  table_room(args.block_table, b));
  }
  const int64_t room = int64_t{args.cu_seqlens_k[i + 1]} - args.cu_seqlens_k[i];
  if (used + added <= room) return {};
  return refuse("cache_seqlens[", b, "] is ", used, " and ", added,
                " new tokens follow, cu_seqlens_k gives the sequence ", room, " keys");
}

// Page ids that the new tokens need; others are not read.
Status check_new_pages(const AppendArgs& args, int64_t b, int64_t used, int64_t added) {
  if (!args.block_table.paged()) return {};
  const int64_t page_size = args.block_table.page_size;
  const int32_t* row = page_row(args.block_table, b);
  for (int64_t i = used / page_size; i <= (used + added - 1) / page_size; ++i) {
    if (row[i] < 0 || row[i] >= args.kv.num_pages) {
      return refuse_page(b, i, row[i], args.kv.num_pages);
    }
  }
  return {};
}

Status check_positions(const AppendArgs& args, const ArgNames& names, int64_t b) {
  const auto i = static_cast<size_t>(b);
  const int64_t used = args.cache_seqlens[i];
  const int64_t begin = args.cu_seqlens_new[i];
  const int64_t end = args.cu_seqlens_new[i + 1];
  if (!args.rotary_positions.empty()) {
    for (int64_t token = begin; token < end; ++token) {
      const int32_t position = args.rotary_positions[static_cast<size_t>(token)];
      if (Status s = check_position(token, position, args, names); !s.ok()) return s;
    }
    return {};
  }
  const int64_t last = used + (end - begin) - 1;
  if (last < args.rotary.max_position) return {};
  return refuse(names.rotary_limit, " is ", args.rotary.max_position, ", sequence ", b,
                " has a new key at position ", last);
}

Status check_sequences(const AppendArgs& args, const ArgNames& names) {
  if (Status s = check_lists(args, names); !s.ok()) return s;
  const size_t batch = args.cache_seqlens.size();
  for (size_t i = 0; i < batch; ++i) {
    const auto b = static_cast<int64_t>(i);
    const int64_t used = args.cache_seqlens[i];
    const int64_t added = int64_t{args.cu_seqlens_new[i + 1]} - args.cu_seqlens_new[i];
    if (Status s = check_room(args, b, used, added); !s.ok()) return s;
    if (added == 0) continue;
    if (Status s = check_new_pages(args, b, used, added); !s.ok()) return s;
    if (args.rotary.cos == nullptr) continue;
    if (Status s = check_positions(args, names, b); !s.ok()) return s;
  }
  return {};
}

}  // namespace

Status validate_append(const AppendArgs& args, const ArgNames& names) {
  const KvParts parts =
      args.kv.v_is_k_prefix || appends_values(args) ? KvParts::kBoth : KvParts::kKeys;
  if (Status s = check_kv_view(names.kv, args.kv, Access::kWrite, parts); !s.ok()) return s;
  if (Status s = check_rows(args, names); !s.ok()) return s;
  if (Status s = check_rotary(args.rotary, names, args.kv.head_dim); !s.ok()) return s;
  if (Status s = check_memory(args, names); !s.ok()) return s;
  if (args.device_slots.slot_mapping != nullptr) return check_device_slots(args);
  if (args.rotary.cos != nullptr && !args.rotary_positions.empty()) {
    if (static_cast<int64_t>(args.rotary_positions.size()) != args.k.shape[0]) {
      return refuse("rotary_positions has ", args.rotary_positions.size(), " entries, must have ",
                    args.k.shape[0], " (new tokens)");
    }
  }
  const bool mapped =
      !args.slot_mapping.empty() || (args.k.shape[0] == 0 && args.cu_seqlens_new.empty());
  return mapped ? check_slot_mapping(args, names) : check_sequences(args, names);
}

}  // namespace attnrt
