// SPDX-License-Identifier: Apache-2.0
// What the flash_attn calls refuse under names of their own, before they plan.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "src/flash_call.hpp"
#include "src/validate_tables.hpp"
#include "src/validate_tensors.hpp"

namespace attnrt {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

Status check_query(const ConstTensorView& q, const KvView& kv, std::string_view kv_name) {
  constexpr int64_t kLeast[3] = {0, 1, 1};
  for (size_t axis = 0; axis < 3; ++axis) {
    if (q.shape[axis] < kLeast[axis] || q.shape[axis] > kMaxInt32) {
      return refuse("q.shape[", axis, "] is ", q.shape[axis], ", must be ", kLeast[axis], "..",
                    kMaxInt32);
    }
  }
  if (q.shape[2] != kv.head_dim) {
    return refuse("q.shape[2] is ", q.shape[2], ", must be ", kv.head_dim, " (", kv_name,
                  ".head_dim)");
  }
  if (q.shape[1] % kv.num_heads_kv == 0) return {};
  return refuse("q.shape[1] is ", q.shape[1], ", must be a multiple of ", kv.num_heads_kv, " (",
                kv_name, ".num_heads_kv)");
}

Status check_windows(int32_t left, int32_t right) {
  if (left < -1) return refuse("window_size_left is ", left, ", must be -1 (all) or more");
  if (right < -1) return refuse("window_size_right is ", right, ", must be -1 (all) or more");
  return {};
}

Status check_table(std::span<const int32_t> table, int32_t max_pages, int64_t stride,
                   int64_t batch) {
  if (max_pages < 0) return refuse("max_pages is ", max_pages, ", must not be negative");
  if (stride < 0 || (stride > 0 && stride < max_pages)) {
    return refuse("block_table_stride is ", stride, ", must be 0 or at least ", max_pages,
                  " (max_pages)");
  }
  const int64_t step = stride != 0 ? stride : max_pages;
  const int64_t needed = batch == 0 ? 0 : capped_add(capped_mul(batch - 1, step), max_pages);
  if (static_cast<int64_t>(table.size()) < needed) {
    return refuse("block_table has ", table.size(), " entries, must have ", needed, " (", batch,
                  " rows of ", max_pages, " pages, row stride ", step, ")");
  }
  return {};
}

// Tokens per sequence: prefix sums, or as many for each.
Status check_tokens(std::string_view name, std::string_view sums_name,
                    std::span<const int32_t> sums, int64_t total, int64_t batch) {
  if (!sums.empty()) {
    if (Status s = check_prefix_sums({sums_name}, sums, batch + 1); !s.ok()) return s;
    if (sums.back() == total) return {};
    return refuse(sums_name, "[", batch, "] is ", sums.back(), ", ", name, " has ", total,
                  " tokens");
  }
  if (total < 0 || total > kMaxInt32) {
    return refuse(name, ".shape[0] is ", total, ", must be 0..", kMaxInt32);
  }
  if (batch == 0 ? total == 0 : total % batch == 0) return {};
  return refuse(name, ".shape[0] is ", total, ", must be a multiple of ", batch,
                " (batch_size) without ", sums_name);
}

Status check_new_keys(const FlashAttnKvCacheArgs& args) {
  if (has_new_keys(args)) {
    return check_tokens("k", "cu_seqlens_k_new", args.cu_seqlens_k_new, args.k.shape[0],
                        args.batch_size);
  }
  if (args.v.data != nullptr) return refuse("v is given without k");
  if (!args.cu_seqlens_k_new.empty()) return refuse("cu_seqlens_k_new is given without k");
  if (args.rotary_cos != nullptr) return refuse("rotary_cos is given without k");
  if (args.rotary_sin != nullptr) return refuse("rotary_sin is given without k");
  return {};
}

Status check_cache_rows(const FlashAttnKvCacheArgs& args) {
  const int64_t rows = args.kv_cache.num_pages;
  if (args.cache_batch_idx.empty()) {
    if (args.batch_size <= rows) return {};
    return refuse("batch_size is ", args.batch_size, ", kv_cache has ", rows,
                  " rows and cache_batch_idx is empty");
  }
  for (size_t b = 0; b < args.cache_batch_idx.size(); ++b) {
    const int32_t row = args.cache_batch_idx[b];
    if (row < 0 || row >= rows) {
      return refuse("cache_batch_idx[", b, "] is ", row, ", kv_cache has ", rows, " rows");
    }
  }
  return {};
}

Status check_cache(const FlashAttnKvCacheArgs& args) {
  const int64_t batch = args.batch_size;
  if (args.kv_cache.layout == KvLayout::kPacked) {
    return refuse("kv_cache.layout is packed, must be nhd, hnd or packed16");
  }
  if (Status s = check_entries({"cache_seqlens"}, args.cache_seqlens.size(), batch); !s.ok()) {
    return s;
  }
  if (!args.cache_leftpad.empty()) {
    if (Status s = check_entries({"cache_leftpad"}, args.cache_leftpad.size(), batch); !s.ok()) {
      return s;
    }
  }
  if (!args.cache_batch_idx.empty()) {
    if (!has_cache_rows(args)) return refuse("cache_batch_idx and block_table are both given");
    if (Status s = check_entries({"cache_batch_idx"}, args.cache_batch_idx.size(), batch);
        !s.ok()) {
      return s;
    }
  }
  if (has_cache_rows(args)) return check_cache_rows(args);
  return check_table(args.block_table, args.max_pages, args.block_table_stride, batch);
}

Status check_room(const FlashAttnKvCacheArgs& args, int64_t b, int64_t used, int64_t added) {
  if (used < 0) return refuse("cache_seqlens[", b, "] is ", used, ", must not be negative");
  const bool rows = has_cache_rows(args);
  const int64_t room = rows ? args.kv_cache.page_size : table_slots(dense_table(args), b);
  if (used + added <= std::min(room, kMaxInt32)) return {};
  std::string message = "cache_seqlens[" + std::to_string(b) + "] is " + std::to_string(used);
  if (added > 0) message += " and " + std::to_string(added) + " new tokens follow";
  if (rows) {
    message += ", a row of kv_cache holds " + std::to_string(room) + " keys";
  } else {
    message += ", " + table_room(dense_table(args), b);
  }
  return Status(Code::kInvalidArgument, std::move(message));
}

Status check_sequences(const FlashAttnKvCacheArgs& args) {
  const int64_t batch = args.batch_size;
  const bool appends = has_new_keys(args);
  for (int64_t b = 0; b < batch; ++b) {
    const auto i = static_cast<size_t>(b);
    const int64_t used = args.cache_seqlens[i];
    const int64_t added = appends ? tokens_of(args.cu_seqlens_k_new, args.k.shape[0], batch, b) : 0;
    if (Status s = check_room(args, b, used, added); !s.ok()) return s;
    const int32_t leftpad = args.cache_leftpad.empty() ? 0 : args.cache_leftpad[i];
    if (leftpad < 0 || leftpad > used) {
      return refuse("cache_leftpad[", b, "] is ", leftpad, ", must be 0..", used,
                    " (cache_seqlens)");
    }
    const int64_t queries = tokens_of(args.cu_seqlens_q, args.q.shape[0], batch, b);
    if (args.rotary_cos == nullptr || queries == 0) continue;
    const int64_t last = used + (rotates_by_row(args) ? queries - 1 : 0);
    if (last >= args.rotary_seqlen) {
      return refuse("rotary_seqlen is ", args.rotary_seqlen, ", sequence ", b,
                    " has a query at position ", last);
    }
  }
  return {};
}

}  // namespace

Status validate_flash_attn(const FlashAttnVarlenArgs& args) {
  if (Status s = check_kv_view("kv", args.kv, Access::kRead); !s.ok()) return s;
  if (Status s = check_query(args.q, args.kv, "kv"); !s.ok()) return s;
  if (Status s = check_windows(args.window_size_left, args.window_size_right); !s.ok()) return s;
  if (args.kv.layout == KvLayout::kPacked) {
    if (args.block_table.empty() && args.max_pages == 0) return {};
    return refuse("block_table is given, kv.layout is packed");
  }
  const auto entries = static_cast<int64_t>(args.cu_seqlens_q.size());
  return check_table(args.block_table, args.max_pages, args.block_table_stride,
                     entries == 0 ? 0 : entries - 1);
}

Status validate_flash_attn(const FlashAttnKvCacheArgs& args) {
  if (args.batch_size < 0) {
    return refuse("batch_size is ", args.batch_size, ", must not be negative");
  }
  const Access access = has_new_keys(args) ? Access::kWrite : Access::kRead;
  if (Status s = check_kv_view("kv_cache", args.kv_cache, access); !s.ok()) return s;
  if (Status s = check_query(args.q, args.kv_cache, "kv_cache"); !s.ok()) return s;
  if (Status s = check_windows(args.window_size_left, args.window_size_right); !s.ok()) return s;
  if (Status s =
          check_tokens("q", "cu_seqlens_q", args.cu_seqlens_q, args.q.shape[0], args.batch_size);
      !s.ok()) {
    return s;
  }
  if (Status s = check_new_keys(args); !s.ok()) return s;
  if (Status s = check_cache(args); !s.ok()) return s;
  return check_sequences(args);
}

// What neither attend (out, lse against q and the cache) nor append_kv (k, v against the cache)
// knows of.
Status validate_flash_attn_memory(const FlashAttnKvCacheArgs& args) {
  if (!has_new_keys(args)) return {};
  const NamedRange q = range_of({"q"}, args.q);
  for (const NamedRange& cache : ranges_of("kv_cache", args.kv_cache)) {
    if (Status s = check_apart(cache, {&q, 1}); !s.ok()) return s;
  }
  const NamedRange both[] = {range_of({"k"}, args.k), range_of({"v"}, args.v)};
  const std::span<const NamedRange> inputs(both, args.kv_cache.v_is_k_prefix ? 1 : 2);
  const int64_t lse_bytes =
      args.softmax_lse.data == nullptr ? 0 : capped_mul(args.q.shape[0] * args.q.shape[1], 4);
  const NamedRange lse = {{"softmax_lse"}, byte_range(args.softmax_lse.data, lse_bytes)};
  if (Status s = check_apart(range_of({"out"}, args.out), inputs); !s.ok()) return s;
  return check_apart(lse, inputs);
}

}  // namespace attnrt
