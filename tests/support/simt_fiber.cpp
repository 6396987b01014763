// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simt_fiber.hpp"

#include <cstdint>

#if defined(ATTNRT_TEST_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves what a call must preserve, changes stacks, and restores. Floating-point control words stay
// as they are: no kernel changes them. ucontext would make two system calls a switch.
asm(R"(
.text
.p2align 4
.type attnrt_switch_stacks, @function
attnrt_switch_stacks:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size attnrt_switch_stacks, .-attnrt_switch_stacks
)");
extern "C" void attnrt_switch_stacks(void** save, void* load);
#endif

namespace attnrt::test {
namespace {

#if defined(ATTNRT_TEST_ASAN)
thread_local Fiber* arriving = nullptr;
#endif

}  // namespace

#if defined(__x86_64__)
void Fiber::prepare(void* stack, size_t bytes, void (*entry)()) {
  auto top = (reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15};
  auto* words = reinterpret_cast<void**>(top);
  // At `entry` the stack is as after a call: 8 bytes off a multiple of 16.
  *--words = nullptr;
  *--words = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--words = nullptr;
  stack_pointer_ = words;
#if defined(ATTNRT_TEST_ASAN)
  stack_ = stack;
  stack_bytes_ = bytes;
  fake_stack_ = nullptr;
#endif
}
#else
void Fiber::prepare(void* stack, size_t bytes, void (*entry)()) {
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
}
#endif

void Fiber::switch_to(Fiber& from, Fiber& to, [[maybe_unused]] bool ended) {
#if defined(ATTNRT_TEST_ASAN)
  arriving = &from;
  // Null frees what the sanitizer keeps for a stack: megabytes each.
  __sanitizer_start_switch_fiber(ended ? nullptr : &from.fake_stack_, to.stack_, to.stack_bytes_);
#endif
#if defined(__x86_64__)
  attnrt_switch_stacks(&from.stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&from.context_, &to.context_);
#endif
#if defined(ATTNRT_TEST_ASAN)
  // Back in `from`; whoever left for here is `arriving`.
  Fiber* left = arriving;
  const bool unknown = left->stack_ == nullptr;
  __sanitizer_finish_switch_fiber(from.fake_stack_, unknown ? &left->stack_ : nullptr,
                                  unknown ? &left->stack_bytes_ : nullptr);
#endif
}

void Fiber::entered() {
#if defined(ATTNRT_TEST_ASAN)
  // The first one to leave is the thread's own stack, whose bounds only the sanitizer knows.
  const bool unknown = arriving->stack_ == nullptr;
  __sanitizer_finish_switch_fiber(nullptr, unknown ? &arriving->stack_ : nullptr,
                                  unknown ? &arriving->stack_bytes_ : nullptr);
#endif
}

}  // namespace attnrt::test
