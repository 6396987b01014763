// SPDX-License-Identifier: Apache-2.0
// What a backend must supply. Arguments have been checked by the time a backend sees them; it
// returns errors about the machine (memory, cancellation) only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attnrt/attention.hpp"
#include "attnrt/runtime.hpp"
#include "src/plan_data.hpp"
#include "src/plan_score.hpp"

namespace attnrt {

/// What a backend keeps per context: its arena or stream, its kernel table.
class BackendState {
 public:
  virtual ~BackendState() = default;
};

/// Where one new token goes: a cache slot, and the row of the rotary tables (if rotated).
struct AppendPlace {
  int64_t slot = -1;  // page * page_size + offset, or the row of a packed cache; -1: skip
  int32_t rotary_position = 0;
};

/// Whether V is appended beside K.
inline bool appends_values(const AppendArgs& args) noexcept {
  const bool keys_only = args.kv.v == nullptr && args.v.data == nullptr && args.kv.k != nullptr;
  return !args.kv.v_is_k_prefix && !keys_only;
}

/// A checked append. `place` is called concurrently, with token numbers in any order; null with
/// AppendArgs::device_slots.
struct AppendTask {
  const AppendArgs* args = nullptr;
  int64_t total_new = 0;
  AppendPlace (*place)(const AppendTask& task, int64_t token) = nullptr;
};

/// A checked merge: either finished states or f32 partials.
struct MergeTask {
  std::span<const StateView> states;
  std::span<const PartialView> partials;
  TensorView out;
  LseView lse;
  const float* sinks = nullptr;  // (Hq) or null
};

/// A checked attend, with what its score is.
struct AttendCall {
  const PlanData& plan;
  const AttendArgs& args;
  const BoundScore& score;
};

/// Virtual because it is called once per layer; nothing below a call of it is.
class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;

  /// Where the tensors are that it works on.
  [[nodiscard]] virtual Device device() const noexcept { return Device::kCpu; }

  /// Usable in this process now, and why (not).
  [[nodiscard]] virtual Capability capability() const = 0;

  /// Instruction sets that this backend has kernels for, best first; none where that is not a
  /// choice.
  [[nodiscard]] virtual std::vector<Capability> isas() const { return {}; }

  /// The one that contexts use where they name none, and why; an error where the environment asks
  /// for one that is unknown or not here.
  virtual Status default_isa(std::string& name, std::string& reason) const {
    name.clear();
    reason = "no choice of kernels";
    return {};
  }

  /// What the plan's items run here, and why; none where that is not a choice. Errors: as
  /// create_state, for `isa`.
  virtual Status explain(const PlanData&, std::string_view isa,
                         std::vector<KernelChoice>& choices) const {
    (void)isa;
    choices.clear();
    return {};
  }

  /// Threads that a context made with ContextOptions::num_threads 0 would use in this thread.
  [[nodiscard]] virtual int32_t default_threads() const noexcept { return 1; }

  /// Unavailable or InvalidArgument where options ask for what this backend or machine lacks.
  virtual Status create_state(const ContextOptions& options,
                              std::unique_ptr<BackendState>& state) const = 0;

  [[nodiscard]] virtual std::string_view isa(const BackendState& state) const noexcept = 0;
  [[nodiscard]] virtual int32_t num_threads(const BackendState& state) const noexcept = 0;

  /// Whether this backend works in memory of `device`: Unsupported, naming the argument, where it
  /// does not. Asked for every call.
  [[nodiscard]] virtual Status supports_memory(std::string_view argument, Device device) const {
    if (device == Device::kCpu) return {};
    return {Code::kUnsupported, std::string(argument) + ".device is cuda, the " +
                                    std::string(name()) + " backend works in host memory only"};
  }

  /// Unsupported, naming the argument that this backend cannot run.
  virtual Status supports(const PlanData& plan, const AttendArgs& args) const = 0;

  [[nodiscard]] virtual size_t workspace_bytes(const BackendState& state,
                                               const PlanData& plan) const noexcept = 0;

  /// Workspace of the state's own, for backends whose device is not the CPU: grown, never shrunk.
  virtual Status own_workspace(BackendState&, size_t, std::span<std::byte>&) const {
    return Status(Code::kInternal, "this backend works in host memory");
  }

  /// What an attend of this call would do before its kernels start; for Context::reserve.
  virtual Status prepare(BackendState&, const AttendCall&) const { return {}; }

  /// `workspace` has at least workspace_bytes bytes and is 64-byte aligned.
  virtual Status attend(BackendState& state, const AttendCall& call,
                        std::span<std::byte> workspace) const = 0;
  virtual Status append(BackendState& state, const AppendTask& task) const = 0;
  /// Checked views of paged caches that differ in layout and strides only.
  virtual Status convert(BackendState& state, const KvView& from, const KvView& to) const = 0;
  virtual Status merge(BackendState& state, const MergeTask& task) const = 0;
};

/// Backends compiled in or found, best first. Defined in backends/backend_list.cpp.
std::span<const Backend* const> all_backends() noexcept;

}  // namespace attnrt
