// SPDX-License-Identifier: Apache-2.0
// The kernel of a call, by its kind alone.
#include "backends/cpu/kernel_choice.hpp"

#include <doctest/doctest.h>

#include <string>

namespace attnrt::cpu {
namespace {

void f32_kernel(const AttendTask&) {}
void bf16_kernel(const AttendTask&) {}
void f16_kernel(const AttendTask&) {}
void dot_kernel(const AttendTask&) {}

KernelTable made_table(bool has_dot) {
  KernelTable table{};
  table.name = "made";
  table.attend[static_cast<int>(DType::kF32)] = f32_kernel;
  table.attend[static_cast<int>(DType::kBF16)] = bf16_kernel;
  table.attend[static_cast<int>(DType::kF16)] = f16_kernel;
  if (has_dot) table.attend_bf16_dot = dot_kernel;
  if (has_dot) table.bf16_dot_name = "dot";
  return table;
}

constexpr CallKind kBf16{.q = DType::kBF16, .kv = DType::kBF16};

TEST_CASE("bf16 dot products only where table, dtypes and spec all allow them") {
  const KernelTable table = made_table(true);
  CHECK((choose_kernel(table, kBf16).attend == dot_kernel));
  CHECK(std::string(choose_kernel(table, kBf16).products) == "dot");
  CallKind call = kBf16;
  call.rotates_q = true;
  CHECK((choose_kernel(table, call).attend == bf16_kernel));
  call = kBf16;
  call.arithmetic = Arithmetic::kFloat32;
  CHECK((choose_kernel(table, call).attend == bf16_kernel));
  CHECK(std::string(choose_kernel(table, call).products) == "f32 FMA");
  CHECK((choose_kernel(made_table(false), kBf16).attend == bf16_kernel));
  call = kBf16;
  call.q = DType::kF32;
  CHECK((choose_kernel(table, call).attend == bf16_kernel));
  call.kv = DType::kF16;
  CHECK((choose_kernel(table, call).attend == f16_kernel));
  call.kv = DType::kF32;
  CHECK((choose_kernel(table, call).attend == f32_kernel));
}

TEST_CASE("each of these has a reason of its own") {
  const KernelTable with = made_table(true);
  CallKind call = kBf16;
  CHECK(choice_reason(with, call).starts_with("pairs of bf16"));
  CHECK(choice_reason(made_table(false), call).starts_with("no bf16 products in this table"));
  call.arithmetic = Arithmetic::kFloat32;
  CHECK(choice_reason(with, call) == "the spec asks for f32 products");
  call = kBf16;
  call.rotates_q = true;
  CHECK(choice_reason(with, call) == "q is rotated by the call, in f32");
  call.q = DType::kF16;
  CHECK(choice_reason(with, call).starts_with("q and the cache are not both bf16"));
}

}  // namespace
}  // namespace attnrt::cpu
