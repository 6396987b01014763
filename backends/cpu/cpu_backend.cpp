// SPDX-License-Identifier: Apache-2.0
// The CPU's side of the backend contract: the choice of kernels, and what is parallel over tokens.
#include "backends/cpu/cpu_backend.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "backends/cpu/attend_run.hpp"
#include "backends/cpu/convert.hpp"
#include "backends/cpu/dispatch.hpp"
#include "backends/cpu/kernel_choice.hpp"
#include "backends/cpu/output_target.hpp"
#include "backends/cpu/packed16_append.hpp"
#include "backends/cpu/panel_source.hpp"
#include "backends/cpu/units.hpp"

namespace attnrt::cpu {
namespace {

class CpuState final : public BackendState {
 public:
  CpuState(const KernelTable& kernels, int32_t num_threads)
      : table(kernels),
        runner(num_threads),
        panels(kernels.make_panels == nullptr ? nullptr : kernels.make_panels()) {}

  // Calls body(token, scratch) for every token; scratch holds `floats` floats, 64-byte aligned.
  template <class Body>
  void for_each_token(int64_t tokens, int64_t floats, const Body& body) {
    // Tokens are a few KB each: 16 of them pay for taking a number.
    constexpr int64_t kTokensPerUnit = 16;
    const int64_t units = (tokens + kTokensPerUnit - 1) / kTokensPerUnit;
    runner.for_each_unit(units, floats, [&](int64_t unit, float* scratch) {
      const int64_t begin = unit * kTokensPerUnit;
      const int64_t end = std::min(tokens, begin + kTokensPerUnit);
      for (int64_t token = begin; token < end; ++token) body(token, scratch);
    });
  }

  const KernelTable& table;
  UnitRunner runner;
  std::unique_ptr<PanelSource> panels;  // null: the table's kernels need none
};

CpuState& cpu_state(BackendState& state) { return static_cast<CpuState&>(state); }
const CpuState& cpu_state(const BackendState& state) { return static_cast<const CpuState&>(state); }

// Address of element `offset` of a tensor.
const std::byte* element(const ConstTensorView& tensor, int64_t offset) {
  return static_cast<const std::byte*>(tensor.data) + offset * size_of(tensor.dtype);
}

std::byte* cache_slot(const KvView& kv, void* base, const KvStrides& strides, int64_t slot) {
  const int64_t offset = kv.layout == KvLayout::kPacked ? slot * strides.token
                                                        : slot / kv.page_size * strides.page +
                                                              slot % kv.page_size * strides.token;
  return static_cast<std::byte*>(base) + offset * size_of(kv.dtype);
}

// Half of a token's append: K with its rotation, or V.
struct CacheSide {
  const ConstTensorView& src;
  void* base;
  const KvStrides& strides;
  int32_t dim;
  const RotaryView* rotary;
};

void store_token(const KernelTable& table, const KvView& kv, const CacheSide& side, int64_t token,
                 const AppendPlace& place, float* scratch) {
  StoreTask task{};
  task.src = element(side.src, token * side.src.strides[0]);
  task.src_dtype = side.src.dtype;
  task.src_head_stride = side.src.strides[1];
  task.dst = cache_slot(kv, side.base, side.strides, place.slot);
  task.dst_dtype = kv.dtype;
  task.dst_head_stride = side.strides.head;
  task.heads = kv.num_heads_kv;
  task.dim = side.dim;
  task.rotary = side.rotary;
  task.position = place.rotary_position;
  task.scratch = scratch;
  table.store(task);
}

void merge_finished(CpuState& state, const MergeTask& task) {
  const int64_t total_q = task.out.shape[0];
  state.for_each_token(total_q, task.out.shape[2], [&](int64_t token, float* scratch) {
    MergeStatesTask rows{};
    rows.states = task.states.data();
    rows.num_states = static_cast<int32_t>(task.states.size());
    rows.token = token;
    rows.heads_q = static_cast<int32_t>(task.out.shape[1]);
    rows.head_dim_v = static_cast<int32_t>(task.out.shape[2]);
    rows.total_q = total_q;
    rows.out = output_target(task.out, task.lse, total_q, token);
    rows.out.sinks = task.sinks;
    rows.scratch = scratch;
    state.table.merge_states(rows);
  });
}

void merge_partials(CpuState& state, const MergeTask& task) {
  const int64_t total_q = task.out.shape[0];
  const int64_t heads_q = task.out.shape[1];
  const int64_t head_dim_v = task.out.shape[2];
  const size_t count = task.partials.size();
  std::vector<int32_t> num_splits;
  for (const PartialView& view : task.partials) num_splits.push_back(view.num_splits);
  // Pointers move with the token, so each worker needs targets of its own; a token's fold costs
  // thousands of operations and one small allocation.
  state.for_each_token(total_q, head_dim_v, [&](int64_t token, float* scratch) {
    std::vector<PartialTarget> targets(count);
    for (size_t i = 0; i < count; ++i) {
      const PartialView& view = task.partials[i];
      targets[i].acc = view.acc + token * heads_q * head_dim_v;
      targets[i].ref = view.ref + token * heads_q;
      targets[i].sum = view.sum + token * heads_q;
      targets[i].split_stride = total_q * heads_q;
    }
    MergeTaskRows rows{};
    rows.partials = targets.data();
    rows.num_splits = num_splits.data();
    rows.num_targets = static_cast<int32_t>(count);
    rows.tokens = 1;
    rows.head_begin = 0;
    rows.head_end = static_cast<int32_t>(heads_q);
    rows.heads_q = static_cast<int32_t>(heads_q);
    rows.head_dim_v = static_cast<int32_t>(head_dim_v);
    rows.out = output_target(task.out, task.lse, total_q, token);
    rows.out.sinks = task.sinks;
    rows.scratch = scratch;
    state.table.merge(rows);
  });
}

class CpuBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "cpu"; }

  [[nodiscard]] Capability capability() const override {
    return {"cpu", true, "oneTBB threads, run-time choice of kernels"};
  }

  [[nodiscard]] std::vector<Capability> isas() const override { return isa_capabilities(); }

  Status default_isa(std::string& name, std::string& reason) const override {
    return cpu::default_isa(name, reason);
  }

  Status explain(const PlanData& plan, std::string_view isa,
                 std::vector<KernelChoice>& choices) const override {
    return explain_plan(plan, isa, choices);
  }

  [[nodiscard]] int32_t default_threads() const noexcept override { return WorkerTeam(0).size(); }

  Status create_state(const ContextOptions& options,
                      std::unique_ptr<BackendState>& state) const override {
    const KernelTable* table = nullptr;
    if (Status status = resolve_table(options.isa, table); !status.ok()) return status;
    state = std::make_unique<CpuState>(*table, options.num_threads);
    return {};
  }

  [[nodiscard]] std::string_view isa(const BackendState& state) const noexcept override {
    return cpu_state(state).table.name;
  }

  [[nodiscard]] int32_t num_threads(const BackendState& state) const noexcept override {
    return cpu_state(state).runner.team.size();
  }

  Status supports(const PlanData&, const AttendArgs& args) const override {
    return supports_memory("kv", args.kv.device);
  }

  [[nodiscard]] size_t workspace_bytes(const BackendState& state,
                                       const PlanData& plan) const noexcept override {
    return attend_workspace_bytes(plan, cpu_state(state).runner.team.size());
  }

  Status attend(BackendState& state, const AttendCall& call,
                std::span<std::byte> workspace) const override {
    CpuState& cpu = cpu_state(state);
    return run_attend(cpu.table, cpu.runner.team, call, workspace, cpu.panels.get());
  }

  Status append(BackendState& state, const AppendTask& task) const override {
    CpuState& cpu = cpu_state(state);
    const AppendArgs& args = *task.args;
    if (args.kv.layout == KvLayout::kPacked16) {
      append_packed16(cpu.table, cpu.runner, task);
      return {};
    }
    const KvView& kv = args.kv;
    const RotaryView* rotary = args.rotary.cos != nullptr ? &args.rotary : nullptr;
    const CacheSide k{args.k, kv.k, kv.k_strides, kv.head_dim, rotary};
    const CacheSide v{args.v, kv.v, kv.v_strides, kv.head_dim_v, nullptr};
    const int64_t floats = std::max(kv.head_dim, kv.head_dim_v);
    const bool values = appends_values(args);
    cpu.for_each_token(task.total_new, floats, [&](int64_t token, float* scratch) {
      const AppendPlace place = task.place(task, token);
      if (place.slot < 0) return;
      store_token(cpu.table, kv, k, token, place, scratch);
      if (values) store_token(cpu.table, kv, v, token, place, scratch);
    });
    return {};
  }

  Status convert(BackendState& state, const KvView& from, const KvView& to) const override {
    CpuState& cpu = cpu_state(state);
    cpu::convert(cpu.table, cpu.runner, from, to);
    return {};
  }

  Status merge(BackendState& state, const MergeTask& task) const override {
    if (task.states.empty()) {
      merge_partials(cpu_state(state), task);
    } else {
      merge_finished(cpu_state(state), task);
    }
    return {};
  }
};

}  // namespace

const Backend& cpu_backend() noexcept {
  static const CpuBackend backend;
  return backend;
}

}  // namespace attnrt::cpu
