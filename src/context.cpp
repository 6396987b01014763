// SPDX-License-Identifier: Apache-2.0
// Contexts: the choice of a backend, and workspace.
#include "src/context.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace attnrt {
namespace {

constexpr size_t kAlign = 64;

std::span<std::byte> aligned_part(std::span<std::byte> memory) noexcept {
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  const size_t skip = (kAlign - address % kAlign) % kAlign;
  return skip >= memory.size() ? std::span<std::byte>() : memory.subspan(skip);
}

std::string known_backends() {
  std::string names;
  for (const Backend* backend : all_backends()) {
    if (!names.empty()) names += ", ";
    names += backend->name();
  }
  return names;
}

Status find_backend(std::string_view name, const Backend*& found) {
  Capability last;
  for (const Backend* backend : all_backends()) {
    if (!name.empty() && backend->name() != name) continue;
    last = backend->capability();
    if (last.available) {
      found = backend;
      return {};
    }
    if (!name.empty()) {
      return Status(Code::kUnavailable, "backend '" + last.name + "' is not here: " + last.reason);
    }
  }
  if (name.empty()) return Status(Code::kUnavailable, "no backend is here: " + last.reason);
  return Status(Code::kInvalidArgument,
                "backend is '" + std::string(name) + "', this build has " + known_backends());
}

Status fill(const ContextOptions& options, Context::Impl& impl) {
  if (options.num_threads < 0) {
    return Status(Code::kInvalidArgument, "num_threads is " + std::to_string(options.num_threads) +
                                              ", it must be 0 or more");
  }
  if (options.num_threads > kMaxThreads) {
    return Status(Code::kInvalidArgument, "num_threads is " + std::to_string(options.num_threads) +
                                              ", it must be at most " +
                                              std::to_string(kMaxThreads));
  }
  if (Status status = find_backend(options.backend, impl.backend); !status.ok()) return status;
  if (Status status = impl.backend->create_state(options, impl.state); !status.ok()) return status;
  impl.borrowed_workspace = !options.workspace.empty();
  impl.workspace = options.workspace;
  impl.named_backend = !options.backend.empty();
  impl.stream = options.stream;
  return {};
}

}  // namespace

bool WorkspacePool::grow(size_t bytes) noexcept {
  if (bytes <= aligned_.size()) return true;
  // Half as much again, so that slowly growing batches do not allocate at every step.
  const size_t wanted = bytes + bytes / 2 + kAlign;
  std::unique_ptr<std::byte[]> memory(new (std::nothrow) std::byte[wanted]);
  if (memory == nullptr) return false;
  owned_ = std::move(memory);
  aligned_ = aligned_part({owned_.get(), wanted});
  return true;
}

Context::Context() noexcept {
  impl_.reset(new (std::nothrow) Impl);
  if (impl_ == nullptr) return;
  impl_->status = guarded([&] { return fill({}, *impl_); });
}

Context::~Context() = default;
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;

Status Context::create(const ContextOptions& options, Context& context) {
  return guarded([&]() -> Status {
    auto impl = std::make_unique<Impl>();
    if (Status status = fill(options, *impl); !status.ok()) return status;
    context.impl_ = std::move(impl);
    return {};
  });
}

size_t Context::workspace_bytes(const Plan& plan) const noexcept {
  if (impl_ == nullptr || impl_->state == nullptr || !plan.valid()) return 0;
  return impl_->backend->workspace_bytes(*impl_->state, *plan.data());
}

Status Context::reserve(const Plan& plan) {
  if (Status status = ready(*this); !status.ok()) return status;
  if (!plan.valid()) return Status(Code::kInvalidArgument, "plan is empty, make_plan fills it");
  std::span<std::byte> memory;
  return acquire_workspace(*impl_, {impl_->backend, impl_->state.get()}, workspace_bytes(plan),
                           memory);
}

std::string_view Context::backend() const noexcept {
  return impl_ == nullptr || impl_->backend == nullptr ? std::string_view()
                                                       : impl_->backend->name();
}

std::string_view Context::isa() const noexcept {
  return impl_ == nullptr || impl_->state == nullptr ? std::string_view()
                                                     : impl_->backend->isa(*impl_->state);
}

int32_t Context::num_threads() const noexcept {
  return impl_ == nullptr || impl_->state == nullptr ? 0
                                                     : impl_->backend->num_threads(*impl_->state);
}

Status ready(Context& context) noexcept {
  Context::Impl* impl = context.impl();
  if (impl == nullptr) return Status(Code::kInvalidArgument, "context is empty: it was moved from");
  return guarded([&] { return impl->status; });
}

Status executor_for(Context::Impl& impl, Device device, Executor& executor) noexcept {
  return guarded([&]() -> Status {
    executor = {impl.backend, impl.state.get()};
    // A named backend refuses what is not its own, by name.
    if (impl.named_backend || impl.backend->device() == device) return {};
    if (impl.device_backend == nullptr) {
      const Backend* found = nullptr;
      if (Status s = find_backend("cuda", found); !s.ok()) {
        return Status(Code::kUnavailable, "tensors are on the device: " + s.message());
      }
      ContextOptions options;
      options.stream = impl.stream;
      if (Status s = found->create_state(options, impl.device_state); !s.ok()) return s;
      impl.device_backend = found;
    }
    executor = {impl.device_backend, impl.device_state.get()};
    return {};
  });
}

Status acquire_workspace(Context::Impl& impl, const Executor& executor, size_t bytes,
                         std::span<std::byte>& memory) noexcept {
  return guarded([&]() -> Status {
    const bool on_device = executor.backend->device() != Device::kCpu;
    if (on_device && !(impl.borrowed_workspace && impl.named_backend)) {
      return executor.backend->own_workspace(*executor.state, bytes, memory);
    }
    if (impl.borrowed_workspace) {
      memory = aligned_part(impl.workspace);
      if (memory.size() >= bytes) return {};
      return Status(Code::kOutOfMemory, "workspace has " + std::to_string(memory.size()) +
                                            " bytes from its first 64-byte boundary on, this call "
                                            "needs " +
                                            std::to_string(bytes));
    }
    if (impl.pool.grow(bytes)) {
      memory = impl.pool.memory();
      return {};
    }
    return Status(Code::kOutOfMemory,
                  "no memory for a workspace of " + std::to_string(bytes) + " bytes");
  });
}

}  // namespace attnrt
