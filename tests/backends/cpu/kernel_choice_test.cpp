// SPDX-License-Identifier: Apache-2.0
// Reasons, and their agreement with the rule that the executor follows.
#include "backends/cpu/kernel_choice.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "backends/cpu/dispatch.hpp"

namespace attnrt::cpu {
namespace {

TEST_CASE("each way to multiply has a reason of its own") {
  KernelTable table{};
  CHECK(choice_reason(table, Arithmetic::kFastest, DType::kF16).find("are not bf16") !=
        std::string::npos);
  CHECK(choice_reason(table, Arithmetic::kFloat32, DType::kBF16) ==
        "the spec asks for f32 products");
  CHECK(choice_reason(table, Arithmetic::kFastest, DType::kBF16)
            .starts_with("no bf16 products in this table"));
  table.attend_bf16_dot = [](const AttendTask&) {};
  CHECK(choice_reason(table, Arithmetic::kFastest, DType::kBF16).starts_with("q and the cache"));
}

TEST_CASE("the explanation says what runs, for every table of this machine") {
  const std::vector<int32_t> cu_seqlens{0, 100};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens;
  batch.cu_seqlens_k = cu_seqlens;
  AttentionSpec spec;
  spec.num_heads_q = 4;
  spec.num_heads_kv = 1;
  spec.head_dim = 32;
  for (const Arithmetic arithmetic : {Arithmetic::kFastest, Arithmetic::kFloat32}) {
    spec.arithmetic = arithmetic;
    Plan plan;
    REQUIRE(make_plan(spec, batch, plan).ok());
    for (const KernelTable* listed : all_kernel_tables()) {
      if (!can_run(*listed)) continue;
      CAPTURE(std::string(listed->name));
      const KernelTable* table = nullptr;
      REQUIRE(resolve_table(listed->name, table).ok());
      std::vector<KernelChoice> choices;
      REQUIRE(explain_plan(*plan.data(), listed->name, choices).ok());
      REQUIRE(choices.size() == 3);
      for (const KernelChoice& choice : choices) {
        const bool dot = uses_bf16_dot(*table, arithmetic, choice.dtype, choice.dtype, false);
        CHECK((choice.products == "f32 FMA") == !dot);
        CHECK_FALSE(choice.products.empty());
        CHECK(choice.tile_rows > 0);
        CHECK(choice.isa == listed->name);
      }
    }
  }
}

}  // namespace
}  // namespace attnrt::cpu
