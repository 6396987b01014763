// SPDX-License-Identifier: Apache-2.0
// What a Context holds: a backend with its state, the workspace, and memory that calls reuse.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <vector>

#include "attnrt/attention.hpp"
#include "src/backend.hpp"
#include "src/plan_score.hpp"

namespace attnrt {

/// Memory of the library's own, 64-byte aligned; grows, never shrinks.
class WorkspacePool {
 public:
  /// False when the memory cannot be had; the old content is then kept.
  bool grow(size_t bytes) noexcept;
  [[nodiscard]] std::span<std::byte> memory() const noexcept { return aligned_; }

 private:
  std::unique_ptr<std::byte[]> owned_;
  std::span<std::byte> aligned_;
};

struct Context::Impl {
  const Backend* backend = nullptr;  // null: `status` says why
  std::unique_ptr<BackendState> state;
  Status status;                    // of the default construction; every call starts with it
  bool borrowed_workspace = false;  // ContextOptions::workspace
  std::span<std::byte> workspace;   // the borrowed one, as given
  WorkspacePool pool;

  // Where no backend was named: what calls on device memory run on, made by the first of them.
  bool named_backend = false;
  void* stream = nullptr;
  const Backend* device_backend = nullptr;
  std::unique_ptr<BackendState> device_state;

  // Reused by the flash_attn calls, so that a steady state allocates nothing.
  Plan plan;
  std::vector<int32_t> lengths, cu_seqlens_q, cu_seqlens_k, pages, positions;
  WorkspacePool rotated_q;  // f32

  ScoreStorage score;  // of attend
};

/// The deferred status of the context; InvalidArgument without an Impl (moved from).
Status ready(Context& context) noexcept;

/// A backend with its state.
struct Executor {
  const Backend* backend = nullptr;
  BackendState* state = nullptr;
};

/// Who runs calls on tensors of `device`: the context's backend, or the one that was found for that
/// device. Errors: Unavailable where there is none.
Status executor_for(Context::Impl& impl, Device device, Executor& executor) noexcept;

/// Workspace of at least `bytes`, 64-byte aligned: the caller's, or the executor's, or the pool
/// grown.
Status acquire_workspace(Context::Impl& impl, const Executor& executor, size_t bytes,
                         std::span<std::byte>& memory) noexcept;

/// Runs `call` and turns an escaping exception into a Status: nothing throws across the API.
template <class Call>
Status guarded(Call&& call) noexcept {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return Status(Code::kOutOfMemory, {});
  } catch (...) {
    return Status(Code::kInternal, {});
  }
}

}  // namespace attnrt
