// SPDX-License-Identifier: Apache-2.0
#include "attnrt/runtime.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt {
namespace {

TEST_CASE("the library's version is the headers' version") {
  CHECK(Runtime::version() == std::to_string(kVersionMajor) + "." + std::to_string(kVersionMinor) +
                                  "." + std::to_string(kVersionPatch));
}

TEST_CASE("both backends are listed, the fast one first, each with a reason") {
  const auto backends = Runtime::backends();
  REQUIRE(backends.size() >= 2);
  CHECK(backends.front().name == "cpu");
  CHECK(backends.back().name == "reference");
  for (const Capability& backend : backends) {
    CHECK((backend.available || backend.name == "cuda"));
    CHECK_FALSE(backend.reason.empty());
  }
}

TEST_CASE("the baseline runs everywhere and stands last; the default is one that can run") {
  const auto isas = Runtime::isas();
  REQUIRE_FALSE(isas.empty());
  CHECK(isas.back().name == "baseline");
  CHECK(isas.back().available);
  for (const Capability& isa : isas) CHECK_FALSE(isa.reason.empty());

  std::string name;
  std::string reason;
  const Status status = Runtime::default_isa(name, reason);
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK_FALSE(reason.empty());
  const auto found = std::ranges::find(isas, name, &Capability::name);
  REQUIRE(found != isas.end());
  CHECK(found->available);
}

TEST_CASE("to_string names version, backends, ISAs and threads") {
  const std::string text = Runtime::to_string();
  for (const char* word : {"libattnrt ", "backend cpu", "backend reference", "isa baseline",
                           "default isa ", "chunk-invariant: always", "threads "}) {
    CAPTURE(word);
    CHECK(text.find(word) != std::string::npos);
  }
  CHECK(Runtime::num_threads() >= 1);
}

TEST_CASE("explain has a line for each class of items and dtype, and says why") {
  const std::vector<int32_t> cu_seqlens_q{0, 1, 9, 109};
  const std::vector<int32_t> cu_seqlens_k{0, 700, 1400, 1500};
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens_q;
  batch.cu_seqlens_k = cu_seqlens_k;
  AttentionSpec spec;
  spec.num_heads_q = 8;
  spec.num_heads_kv = 2;
  spec.head_dim = 32;
  Plan plan;
  REQUIRE(make_plan(spec, batch, plan).ok());

  std::vector<KernelChoice> choices;
  REQUIRE(Runtime::kernel_choices(plan, choices, "baseline").ok());
  REQUIRE(choices.size() == 3 * 3);
  int64_t items = 0;
  for (const KernelChoice& choice : choices) {
    if (choice.dtype == DType::kF32) items += choice.num_items;
    CHECK(choice.isa == "baseline");
    CHECK(choice.products == "f32 FMA");
    CHECK_FALSE(choice.reason.empty());
  }
  CHECK(items == plan.num_items());
  CHECK(choices[0].items == "decode");
  CHECK(choices[0].min_rows == 4);
  CHECK(choices[0].max_rows == 4);
  CHECK(choices[3].items == "few tokens");
  CHECK(choices[3].max_rows == 32);
  CHECK(choices[6].items == "prefill");
  CHECK(choices[6].max_rows <= 256);

  const std::string text = Runtime::explain(plan, "baseline");
  CHECK(std::ranges::count(text, '\n') == 9 + 2);
  CHECK(text.find("decode: ") == 0);
  CHECK(text.find(" items of 4 rows, bf16: baseline, f32 FMA, ") != std::string::npos);
  // What runs by default has a reason as well.
  std::string isa;
  std::string reason;
  REQUIRE(Runtime::default_isa(isa, reason).ok());
  CHECK(Runtime::explain(plan).find(": " + isa + ", ") != std::string::npos);

  CHECK(Runtime::kernel_choices(plan, choices, "mmx").code() == Code::kInvalidArgument);
  CHECK(choices.size() == 9);
  CHECK(Runtime::kernel_choices(Plan(), choices).code() == Code::kInvalidArgument);
  CHECK(Runtime::explain(Plan()).find("no kernels: plan") == 0);
}

}  // namespace
}  // namespace attnrt
