// SPDX-License-Identifier: Apache-2.0
// The choice of a kernel table: by name, by environment, by what the CPU has.
#include "backends/cpu/dispatch.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "backends/cpu/cpu_features.hpp"

namespace attnrt::cpu {
namespace {

TEST_CASE("baseline fills every slot, needs nothing and stands last") {
  const KernelTable& last = *all_kernel_tables().back();
  CHECK(std::string(last.name) == "baseline");
  CHECK(last.needs == 0);
  CHECK(can_run(last));
  for (const AttendKernel kernel : last.attend) CHECK((kernel != nullptr));
  CHECK((last.merge != nullptr));
  CHECK((last.store != nullptr));
  CHECK((last.merge_states != nullptr));
  CHECK((last.pack_group != nullptr));
  CHECK((last.unpack_group != nullptr));
}

TEST_CASE("every table that runs here can be named; its own slots win, others are filled") {
  for (const KernelTable* table : all_kernel_tables()) {
    CAPTURE(std::string(table->name));
    const KernelTable* resolved = nullptr;
    const Status status = resolve_table(table->name, resolved);
    if (!can_run(*table)) {
      CHECK(status.code() == Code::kUnavailable);
      CHECK(status.message().find("missing") != std::string::npos);
      continue;
    }
    REQUIRE(status.ok());
    CHECK(std::string(resolved->name) == table->name);
    for (int i = 0; i < kDTypeCount; ++i) {
      CHECK((resolved->attend[i] != nullptr));
      if (table->attend[i] != nullptr) CHECK((resolved->attend[i] == table->attend[i]));
    }
    const KernelTable* again = nullptr;
    CHECK(resolve_table(table->name, again).ok());
    CHECK(again == resolved);
  }
}

TEST_CASE("an unknown name is refused with the known ones, and leaves the table alone") {
  const KernelTable* table = nullptr;
  const Status status = resolve_table("avx1024", table);
  CHECK(status.code() == Code::kInvalidArgument);
  CHECK(table == nullptr);
  CHECK(status.message().find("isa is \"avx1024\"") == 0);
  for (const KernelTable* known : all_kernel_tables()) {
    CHECK(status.message().find(known->name) != std::string::npos);
  }
}

TEST_CASE(
    "bf16 dot products are for bf16 q and K/V that the call does not rotate, and can be refused") {
  for (const KernelTable* known : all_kernel_tables()) {
    const KernelTable* table = nullptr;
    if (!resolve_table(known->name, table).ok()) continue;
    CAPTURE(std::string(table->name));
    const bool there = table->attend_bf16_dot != nullptr;
    for (const DType q : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const DType kv : {DType::kF32, DType::kBF16, DType::kF16}) {
        const bool bf16 = q == DType::kBF16 && kv == DType::kBF16;
        CHECK(uses_bf16_dot(*table, Arithmetic::kFastest, q, kv, false) == (there && bf16));
        CHECK_FALSE(uses_bf16_dot(*table, Arithmetic::kFastest, q, kv, true));
        CHECK_FALSE(uses_bf16_dot(*table, Arithmetic::kFloat32, q, kv, false));
      }
    }
  }
}

TEST_CASE("the default is ATTNRT_ISA where set, else the best that runs") {
  std::string name;
  std::string reason;
  const Status status = default_isa(name, reason);
  const KernelTable* table = nullptr;
  CHECK(resolve_table("", table).code() == status.code());
  if (!status.ok()) {
    CHECK(status.message().find("ATTNRT_ISA is ") == 0);
    return;
  }
  CHECK(name == table->name);
  const char* requested = std::getenv("ATTNRT_ISA");
  if (requested != nullptr && *requested != '\0') {
    CHECK(name == requested);
    CHECK(reason == "ATTNRT_ISA");
    return;
  }
  CHECK(reason == "best of this CPU");
  for (const KernelTable* candidate : all_kernel_tables()) {
    const bool wanted = (candidate->wants & ~cpu_features()) == 0;
    if (!can_run(*candidate) || !wanted) continue;
    CHECK(name == candidate->name);
    break;
  }
}

TEST_CASE("capabilities list every table, best first, with a reason") {
  const std::vector<Capability> list = isa_capabilities();
  REQUIRE(list.size() == all_kernel_tables().size());
  for (size_t i = 0; i < list.size(); ++i) {
    const KernelTable& table = *all_kernel_tables()[i];
    CHECK(list[i].name == table.name);
    CHECK(list[i].available == can_run(table));
    CHECK((list[i].reason == "supported") == can_run(table));
  }
}

}  // namespace
}  // namespace attnrt::cpu
