// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simt_attend.hpp"

#include <algorithm>
#include <vector>

#include "backends/cuda/call_expression.hpp"
#include "backends/cuda/call_params.hpp"
#include "backends/cuda/kernels/merge.cuh"
#include "src/expr/slot_bytes.hpp"

namespace attnrt::test {
namespace {

size_t tensor_bytes(const ConstTensorView& tensor) {
  if (tensor.shape[0] == 0) return 0;
  const int64_t elements = (tensor.shape[0] - 1) * tensor.strides[0] +
                           (tensor.shape[1] - 1) * tensor.strides[1] + tensor.shape[2];
  return static_cast<size_t>(elements * size_of(tensor.dtype));
}

}  // namespace

void name_cache(const KvView& kv, bool writable, SimtMemory& memory) {
  const auto name = [&](void* data, const KvStrides& strides, int64_t dim) {
    const bool packed = kv.layout == KvLayout::kPacked;
    const int64_t rows = packed ? kv.num_tokens : kv.page_size;
    if (rows == 0 || (!packed && kv.num_pages == 0)) return;
    const int64_t elements = (packed ? 0 : (kv.num_pages - 1) * strides.page) +
                             (rows - 1) * strides.token + (kv.num_heads_kv - 1) * strides.head +
                             dim;
    const auto bytes = static_cast<size_t>(elements * size_of(kv.dtype));
    writable ? memory.writable(data, bytes) : memory.readable(data, bytes);
  };
  name(kv.k, kv.k_strides, kv.head_dim);
  if (!kv.v_is_k_prefix) name(kv.v, kv.v_strides, kv.head_dim_v);
}

void name_tables(std::span<const expr::SlotValue> values, SimtMemory& memory) {
  for (const expr::SlotValue& value : values) {
    memory.readable(value.data, expr::table_bytes(value));
  }
}

void name_buffers(const AttendArgs& args, const PlanData& plan, SimtMemory& memory) {
  memory.readable(args.q.data, tensor_bytes(args.q));
  name_cache(args.kv, false, memory);
  memory.writable(args.out.data, tensor_bytes(args.out));
  const auto rows = static_cast<size_t>(int64_t{plan.total_q} * plan.spec.num_heads_q);
  if (args.lse.data != nullptr) memory.writable(args.lse.data, rows * sizeof(float));
  memory.readable(args.alibi_slopes.data(), args.alibi_slopes.size_bytes());
  memory.readable(args.sinks.data(), args.sinks.size_bytes());
  const RotaryView& rotary = args.rotary_q;
  for (const void* table : {rotary.cos, rotary.sin}) {
    if (table == nullptr) continue;
    memory.readable(table, static_cast<size_t>(int64_t{rotary.max_position} * rotary.rotary_dim /
                                               2 * size_of(rotary.dtype)));
  }
  name_tables(args.score_values, memory);
  const PartialView& partial = args.partial;
  if (partial.acc == nullptr) return;
  const size_t states = rows * static_cast<size_t>(partial.num_splits) * sizeof(float);
  memory.writable(partial.acc, states * static_cast<size_t>(plan.spec.head_dim_v));
  memory.writable(partial.ref, states);
  memory.writable(partial.sum, states);
}

std::string simt_attend(const PlanData& plan, const AttendArgs& given, SimtMemory& memory,
                        const SimtAttend& options) {
  AttendArgs args = given;
  args.q.device = Device::kCuda;
  ScoreStorage storage;
  BoundScore score;
  if (const Status s = bind_score(plan, args, storage, score); !s.ok()) return s.message();
  const cuda::DevicePlanLayout layout = cuda::lay_out(plan);
  std::vector<std::byte> uploaded(layout.total, std::byte{0xee});  // aligned to 16, as all of new
  cuda::write_device_plan(plan, layout, {uploaded.data(), layout.total});
  std::vector<std::byte> states(cuda::state_bytes(plan), std::byte{0xff});
  memory.readable(uploaded.data(), layout.total);
  memory.writable(states.data(), states.size());
  cuda::AttendParams params =
      cuda::attend_params({plan, args, score}, layout, uploaded.data(), states.data());
  const cuda::CallExpression call = cuda::call_expression(plan, score);
  std::vector<cuda::DeviceSlot> slots(call.num_slots());
  if (call.exists()) {
    cuda::call_slots(plan, score, layout, uploaded.data(), slots);
    const std::string source = cuda::expression_source(call.mask, call.score, "Expression");
    const SimtExpression* expression = options.find == nullptr ? nullptr : options.find(source);
    if (expression == nullptr) return "nothing was compiled of\n" + source;
    set_simt_expression(*expression, slots.data());
  }
  std::string wrong;
  if (params.callers_states != 0) {
    const int64_t count = int64_t{args.partial.num_splits} * plan.total_q * plan.spec.num_heads_q;
    wrong = simt_launch_rows(count, 1, memory, [&] {
      cuda::clear_states_block(params.states, count, plan.spec.head_dim_v);
    });
  }
  const int32_t dim = cuda::padded_dim(plan.spec.head_dim, plan.spec.head_dim_v);
  SimtLaunch launch;
  launch.reversed = options.reversed;
  launch.blocks_y = layout.unit_heads;
  for (const bool tall : {true, false}) {
    SimtKernel kernel = tall ? options.tall_kernel : options.short_kernel;
    if (kernel.run == nullptr && call.exists()) {
      kernel = simt_expression_kernel(call.mask.exists(), call.score.exists(), dim, tall);
    }
    if (kernel.run == nullptr) kernel = simt_attend_kernel(args.q.dtype, dim, tall);
    params.units = reinterpret_cast<const cuda::DeviceUnit*>(
        uploaded.data() + (tall ? layout.tall_units : layout.short_units));
    launch.blocks_x = tall ? layout.num_tall : layout.num_short;
    if (wrong.empty()) wrong = simt_launch_attend(kernel, params, memory, launch);
  }
  if (params.callers_states != 0 || layout.num_merges == 0 || !wrong.empty()) return wrong;
  const cuda::MergeParams merge = cuda::plan_merge_params(layout, params, uploaded.data());
  return simt_launch_rows(int64_t{layout.merge_tokens} * plan.spec.num_heads_q, layout.num_merges,
                          memory, [&] { cuda::merge_states_block(merge); });
}

std::string simt_attend(const Problem& problem, Output& output, const SimtAttend& options,
                        const PartialView& partial) {
  Plan plan;
  const Status status = make_plan(problem.spec(), problem.batch(), plan);
  if (!status.ok()) return "make_plan: " + status.message();
  AttendArgs args = problem.args(output);
  args.partial = partial;
  if (!options.lse) args.lse.data = nullptr;
  SimtMemory memory;
  name_buffers(args, *plan.data(), memory);
  return simt_attend(*plan.data(), args, memory, options);
}

std::string simt_merge(const MergeTask& task, const SimtMemory& memory) {
  const int64_t rows = task.out.shape[0] * task.out.shape[1];
  if (!task.partials.empty()) {
    const cuda::MergeParams params = cuda::merge_params(task);
    return simt_launch_rows(rows, 1, memory, [&] { cuda::merge_states_block(params); });
  }
  const cuda::MergeFinishedParams params = cuda::merge_finished_params(task);
  return simt_launch_rows(rows, 1, memory, [&] { cuda::merge_finished_block(params); });
}

std::string simt_append(const AppendTask& task, const SimtMemory& memory) {
  std::vector<cuda::DevicePlace> places;
  for (int64_t token = 0; token < task.total_new; ++token) {
    const AppendPlace place = task.place(task, token);
    places.push_back({place.slot, place.rotary_position, 0});
  }
  SimtMemory all = memory;
  all.readable(places.data(), places.size() * sizeof(cuda::DevicePlace));
  const cuda::AppendParams params = cuda::append_params(task, places.data());
  return simt_launch_append(params, all);
}

}  // namespace attnrt::test
