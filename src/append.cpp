// SPDX-License-Identifier: Apache-2.0
// append_kv: check everything, say where each token goes, hand over to the backend.
#include "src/append.hpp"

#include <algorithm>

#include "src/resolve.hpp"
#include "src/validate.hpp"

namespace attnrt {
namespace {

AppendPlace place_by_mapping(const AppendTask& task, int64_t token) {
  const AppendArgs& args = *task.args;
  const auto i = static_cast<size_t>(token);
  return {args.slot_mapping[i], args.rotary_positions.empty() ? 0 : args.rotary_positions[i]};
}

// A binary search per token (6 steps for a batch of 64) beside converting a row of all KV heads.
AppendPlace place_by_sequence(const AppendTask& task, int64_t token) {
  const AppendArgs& args = *task.args;
  const std::span<const int32_t> sums = args.cu_seqlens_new;
  const auto next = std::upper_bound(sums.begin(), sums.end(), token);
  const auto b = static_cast<size_t>(next - sums.begin() - 1);
  const int64_t key = args.cache_seqlens[b] + (token - sums[b]);

  AppendPlace place;
  if (args.block_table.paged()) {
    const int64_t page_size = args.block_table.page_size;
    const int32_t* row = page_row(args.block_table, static_cast<int64_t>(b));
    place.slot = row[key / page_size] * page_size + key % page_size;
  } else {
    place.slot = args.cu_seqlens_k[b] + key;
  }
  place.rotary_position = args.rotary_positions.empty()
                              ? static_cast<int32_t>(key)
                              : args.rotary_positions[static_cast<size_t>(token)];
  return place;
}

AppendPlace place_by_row(const AppendTask& task, int64_t token) {
  return {token, task.args->rotary_positions[static_cast<size_t>(token)]};
}

Status run(Context::Impl& impl, const AppendArgs& args,
           AppendPlace (*place)(const AppendTask& task, int64_t token)) {
  Executor by;
  if (Status s = executor_for(impl, args.kv.device, by); !s.ok()) return s;
  if (Status s = by.backend->supports_memory("kv", args.kv.device); !s.ok()) return s;
  if (args.k.shape[0] == 0) return {};
  AppendTask task;
  task.args = &args;
  task.total_new = args.k.shape[0];
  task.place = place;
  return by.backend->append(*by.state, task);
}

}  // namespace

Status append_kv(Context& context, const AppendArgs& args) {
  return guarded([&]() -> Status {
    if (Status status = ready(context); !status.ok()) return status;
    if (Status status = validate_append(args); !status.ok()) return status;
    return append_checked(*context.impl(), args);
  });
}

Status append_checked(Context::Impl& impl, const AppendArgs& args) {
  if (args.device_slots.slot_mapping != nullptr) return run(impl, args, nullptr);
  return run(impl, args, args.slot_mapping.empty() ? place_by_sequence : place_by_mapping);
}

Status append_rows(Context::Impl& impl, const AppendArgs& args) {
  return run(impl, args, place_by_row);
}

}  // namespace attnrt
