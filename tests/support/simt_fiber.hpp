// SPDX-License-Identifier: Apache-2.0
// Switching between stacks within a thread: what the threads of an emulated block are made of.
#pragma once

#include <cstddef>

#include "tests/support/build.hpp"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace attnrt::test {

/// A stack with somebody on it. The first switch to it calls `entry`, which must never return.
class Fiber {
 public:
  Fiber() = default;  // of the thread that is running
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Makes it begin at `entry`, on [stack, stack + bytes).
  void prepare(void* stack, size_t bytes, void (*entry)());

  /// Leaves `from`, which is running, and goes on where `to` left. Nobody may come back to `from`
  /// where it has `ended`.
  static void switch_to(Fiber& from, Fiber& to, bool ended = false);

  /// To be called first by `entry`.
  static void entered();

 private:
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
#if defined(ATTNRT_TEST_ASAN)
  const void* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
#endif
};

}  // namespace attnrt::test
