// SPDX-License-Identifier: Apache-2.0
// The table of models, and shapes by numbers.
#include "perf/models.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "perf/cli.hpp"

namespace perf = attnrt::perf;
using perf::BadInput;

TEST_CASE("every model is a shape that can be planned") {
  CHECK(perf::known_models().size() == 6);
  for (const perf::Model& model : perf::known_models()) {
    CAPTURE(model.name);
    CHECK(&perf::find_model(model.name) == &model);
    CHECK(model.num_layers >= static_cast<int32_t>(model.kinds.size()));
    for (const perf::LayerKind& kind : model.kinds) {
      CHECK(kind.spec.num_heads_q % kind.spec.num_heads_kv == 0);
      CHECK(kind.spec.causal);
      // Kinds of one model share q, cache and output.
      CHECK(kind.spec.num_heads_q == model.shape().num_heads_q);
      CHECK(kind.spec.head_dim_v == model.shape().head_dim_v);
    }
  }
}

TEST_CASE("what the models are known for") {
  CHECK(perf::find_model("llama-3.1-8b").token_bytes(attnrt::DType::kBF16) == 4096);
  CHECK(perf::find_model("qwen2.5-7b").shape().num_heads_q == 7 * 4);
  CHECK(perf::find_model("mistral-7b").shape().window_left == 4095);
  const perf::Model& gemma = perf::find_model("gemma-2-9b");
  CHECK(gemma.kind_of(0).spec.window_left == 4095);
  CHECK(gemma.kind_of(1).spec.window_left == -1);
  CHECK(gemma.kind_of(2).spec.window_left == 4095);
  CHECK(gemma.shape().softcap == 50.0f);
  const perf::Model& oss = perf::find_model("gpt-oss-20b");
  CHECK(oss.kind_of(0).spec.window_left == 127);
  CHECK(oss.shape().has_sinks);
  const perf::Model& deepseek = perf::find_model("deepseek-v3");
  CHECK(deepseek.v_is_k_prefix);
  CHECK(deepseek.token_bytes(attnrt::DType::kBF16) == 2 * 576);
  CHECK(*deepseek.shape().softmax_scale == doctest::Approx(0.13523).epsilon(1e-4));
}

TEST_CASE("an unknown name lists the known ones") {
  CHECK_THROWS_WITH_AS(perf::find_model("gpt-5"),
                       "--model is 'gpt-5'; known: llama-3.1-8b, qwen2.5-7b, mistral-7b, "
                       "gemma-2-9b, gpt-oss-20b, deepseek-v3",
                       BadInput);
}

TEST_CASE("shapes by numbers") {
  perf::ShapeNumbers numbers;
  numbers.heads = "12/4";
  numbers.head_dim = 96;
  numbers.head_dim_v = 64;
  numbers.window = 100;
  numbers.softcap = 30.0;
  numbers.sinks = true;
  const perf::Model model = perf::custom_model(numbers);
  CHECK(model.shape().num_heads_kv == 4);
  CHECK(model.shape().head_dim == 96);
  CHECK(model.shape().head_dim_v == 64);
  CHECK(model.shape().window_left == 99);
  CHECK(model.shape().softcap == 30.0f);
  CHECK(model.shape().has_sinks);
  CHECK(model.token_bytes(attnrt::DType::kF32) == 4 * (96 + 64) * 4);
}

TEST_CASE("impossible shapes name the option and the value") {
  const auto message = [](auto&& spoil) -> std::string {
    perf::ShapeNumbers numbers;
    numbers.heads = "8/1";
    spoil(numbers);
    try {
      (void)perf::custom_model(numbers);
    } catch (const BadInput& error) {
      return error.what();
    }
    return "accepted";
  };
  using Numbers = perf::ShapeNumbers;
  CHECK(message([](Numbers& n) { n.heads = "32/7"; }) ==
        "--heads is '32/7': 32 query heads are no multiple of 7 KV heads");
  CHECK(message([](Numbers& n) { n.head_dim = 0; }) == "--head-dim is 0; it must be 1 to 65536");
  CHECK(message([](Numbers& n) { n.head_dim = -128; }) ==
        "--head-dim is -128; it must be 1 to 65536");
  CHECK(message([](Numbers& n) { n.head_dim_v = -1; }) ==
        "--head-dim-v is -1; it must be 1 to 65536");
  CHECK(message([](Numbers& n) { n.window = -1; }) == "--window is -1; it must be 0 to 1073741824");
  CHECK(message([](Numbers& n) { n.softcap = -1.0; }) ==
        "--softcap is -1; it must be 0 (none) or more");
  CHECK(message([](Numbers& n) { n.softcap = std::numeric_limits<double>::quiet_NaN(); }) ==
        "--softcap is nan; it must be 0 (none) or more");
  CHECK(message([](Numbers& n) {
          n.heads = "8/2";
          n.mla = true;
        }) ==
        "--mla needs one KV head and --head-dim-v of at most --head-dim; got 8/2 and 128/128");
  CHECK(message([](Numbers& n) {
          n.heads = "65536/1";
          n.head_dim = 65536;
        }) == "65536 heads of 65536 columns are 4294967296 elements a token; at most 16777216");
}
