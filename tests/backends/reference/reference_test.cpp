// SPDX-License-Identifier: Apache-2.0
// Who checks the oracle: values worked out by hand, small enough to follow on paper.
#include "backends/reference/reference.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "backends/reference/element.hpp"
#include "backends/reference/error_rule.hpp"

namespace attnrt {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kLn2 = std::numbers::ln2;

// One sequence, one head, packed, head_dim 1. With q = 1 and scale 1 a key is its own score, so
// keys of ln n weigh n.
struct Tiny {
  AttentionSpec spec;
  std::vector<float> q{1.0f};
  std::vector<float> k;
  std::vector<float> v;
  std::vector<int32_t> cu_q{0, 1};
  std::vector<int32_t> cu_k;
  std::vector<int32_t> q_start, seqused, leftpad;
  AttendArgs args;

  Tiny(std::vector<float> keys, std::vector<float> values)
      : k(std::move(keys)), v(std::move(values)), cu_k{0, static_cast<int32_t>(k.size())} {
    spec.num_heads_q = 1;
    spec.num_heads_kv = 1;
    spec.head_dim = 1;
    spec.softmax_scale = 1.0f;
  }

  reference::Row row(int64_t token = 0, int64_t head = 0, int64_t seq = 0) {
    args.q = dense_tensor(static_cast<const void*>(q.data()), DType::kF32, std::ssize(q),
                          spec.num_heads_q, spec.head_dim);
    args.kv.layout = KvLayout::kPacked;
    args.kv.k = k.data();
    args.kv.v = v.data();
    args.kv.k_strides = {0, spec.head_dim * spec.num_heads_kv, spec.head_dim};
    args.kv.v_strides = {0, spec.head_dim * spec.num_heads_kv, spec.head_dim};
    return reference::attend_row(spec, batch(), args, {seq, token, head});
  }
  SequenceBatch batch() const {
    SequenceBatch b;
    b.cu_seqlens_q = cu_q;
    b.cu_seqlens_k = cu_k;
    b.q_start = q_start;
    b.seqused_k = seqused;
    b.leftpad_k = leftpad;
    return b;
  }
};

float ln(double x) { return static_cast<float>(std::log(x)); }

doctest::Approx close(double value) { return doctest::Approx(value).epsilon(1e-6); }

}  // namespace

TEST_SUITE("reference") {
  TEST_CASE("a row is the mean of V weighted with exp(score)") {
    Tiny tiny({ln(1), ln(2), ln(5)}, {10.0f, 20.0f, 40.0f});
    const reference::Row row = tiny.row();
    CHECK(row.out[0] == close((10.0 + 2 * 20.0 + 5 * 40.0) / 8.0));
    CHECK(row.lse == close(std::log(8.0)));
    CHECK(row.max_abs_score == close(std::log(5.0)));
    CHECK(row.max_abs_value == 40.0);
  }

  TEST_CASE(
      "scale: the default is 1/sqrt(head_dim), zero makes a plain mean, a negative one turns") {
    Tiny tiny({ln(4), ln(1)}, {10.0f, 20.0f});
    tiny.spec.softmax_scale = 0.5f;
    CHECK(tiny.row().out[0] == close((2 * 10.0 + 20.0) / 3.0));
    tiny.spec.softmax_scale = 0.0f;
    CHECK(tiny.row().out[0] == 15.0);
    CHECK(tiny.row().lse == close(kLn2));
    tiny.spec.softmax_scale = -1.0f;
    CHECK(tiny.row().out[0] == close((0.25 * 10.0 + 20.0) / 1.25));

    Tiny wide({ln(4), 0, 0, 0, ln(16), 0, 0, 0}, {1, 2, 3, 4, 5, 6, 7, 8});
    wide.spec.head_dim = 4;
    wide.spec.softmax_scale.reset();
    wide.q = {1, 9, 9, 9};
    wide.cu_k = {0, 2};
    const reference::Row row = wide.row();  // weights sqrt(4) and sqrt(16)
    CHECK(row.out[0] == close((2 * 1.0 + 4 * 5.0) / 6.0));
    CHECK(row.out[3] == close((2 * 4.0 + 4 * 8.0) / 6.0));
  }

  TEST_CASE("causal is aligned at the bottom right, and q_start moves it") {
    Tiny tiny({0, 0, 0, 0}, {1, 2, 4, 8});
    tiny.q = {1, 1};
    tiny.cu_q = {0, 2};
    tiny.spec.causal = true;
    CHECK(tiny.row(0).out[0] == close(7.0 / 3.0));  // position 2 sees keys 0..2
    CHECK(tiny.row(1).out[0] == close(15.0 / 4.0));
    tiny.q_start = {0};
    CHECK(tiny.row(0).out[0] == 1.0);
    CHECK(tiny.row(1).out[0] == 1.5);
    tiny.q_start = {-1};
    CHECK(tiny.row(0).out[0] == 0.0);
    CHECK(tiny.row(0).lse == -kInfinity);
    CHECK(tiny.row(1).out[0] == 1.0);
    tiny.q_start = {100};
    CHECK(tiny.row(0).out[0] == close(15.0 / 4.0));
  }

  TEST_CASE("windows are inclusive on both sides; causal makes the right one 0") {
    Tiny tiny({0, 0, 0, 0, 0}, {1, 2, 4, 8, 16});
    tiny.q_start = {2};
    tiny.spec.window_left = 1;
    CHECK(tiny.row().out[0] == close((2 + 4 + 8 + 16) / 4.0));
    tiny.spec.window_right = 1;
    CHECK(tiny.row().out[0] == close((2 + 4 + 8) / 3.0));
    tiny.spec.window_left = 0;
    tiny.spec.window_right = 0;
    CHECK(tiny.row().out[0] == 4.0);
    tiny.spec.window_left = -1;
    tiny.spec.window_right = 1;
    tiny.spec.causal = true;
    CHECK(tiny.row().out[0] == close((1 + 2 + 4) / 3.0));
  }

  TEST_CASE("more queries than keys with causal: the first rows see nothing") {
    Tiny tiny({0}, {3});
    tiny.q = {1, 1, 1};
    tiny.cu_q = {0, 3};
    tiny.spec.causal = true;
    CHECK(tiny.row(0).out[0] == 0.0);
    CHECK(tiny.row(0).lse == -kInfinity);
    CHECK(tiny.row(1).lse == -kInfinity);
    CHECK(tiny.row(2).out[0] == 3.0);
    CHECK(tiny.row(2).lse == 0.0);
  }

  TEST_CASE("softcap comes before ALiBi, ALiBi grows with the distance on both sides") {
    Tiny tiny({10.0f, -10.0f}, {1, 2});
    tiny.spec.softcap = 2.0f;
    const double a = 2.0 * std::tanh(5.0);
    CHECK(tiny.row().lse == close(std::log(std::exp(a) + std::exp(-a))));

    tiny.spec.has_alibi = true;
    const std::vector<float> slopes{0.5f};
    tiny.args.alibi_slopes = slopes;
    tiny.q_start = {3};  // distances 3 and 2
    CHECK(tiny.row().lse == close(std::log(std::exp(a - 1.5) + std::exp(-a - 1.0))));
    tiny.q_start = {-1};  // distances 1 and 2
    CHECK(tiny.row().lse == close(std::log(std::exp(a - 0.5) + std::exp(-a - 1.0))));
  }

  TEST_CASE("ALiBi slopes are per head, or per sequence and head") {
    Tiny tiny({0, 0, 0, 0}, {1, 2, 3, 4});
    tiny.spec.num_heads_q = 2;
    tiny.spec.has_alibi = true;
    tiny.q = {1, 1, 1, 1};
    tiny.cu_q = {0, 1, 2};
    tiny.cu_k = {0, 2, 4};
    const std::vector<float> per_head{0.0f, ln(3)};
    tiny.args.alibi_slopes = per_head;
    CHECK(tiny.row(0, 0, 1).out[0] == close(3.5));
    CHECK(tiny.row(0, 1, 1).out[0] == close((3.0 / 3 + 4.0) / (1.0 / 3 + 1.0)));
    const std::vector<float> per_seq{ln(3), 0.0f, 0.0f, 0.0f};
    tiny.args.alibi_slopes = per_seq;
    CHECK(tiny.row(0, 0, 0).out[0] == close((1.0 / 3 + 2.0) / (1.0 / 3 + 1.0)));
    CHECK(tiny.row(0, 1, 1).out[0] == close(3.5));
  }

  TEST_CASE("a sink adds to the denominator only, and is the LSE of an empty row") {
    Tiny tiny({ln(2), ln(3)}, {10, 20});
    tiny.spec.has_sinks = true;
    std::vector<float> sinks{ln(5)};
    tiny.args.sinks = sinks;
    CHECK(tiny.row().out[0] == close((2 * 10.0 + 3 * 20.0) / 10.0));
    CHECK(tiny.row().lse == close(std::log(10.0)));
    sinks[0] = ln(0.5);
    CHECK(tiny.row().out[0] == close((2 * 10.0 + 3 * 20.0) / 5.5));
    tiny.seqused = {0};
    CHECK(tiny.row().out[0] == 0.0);
    CHECK(tiny.row().lse == close(std::log(0.5)));
    sinks[0] = -std::numeric_limits<float>::infinity();
    CHECK(tiny.row().lse == -kInfinity);
    CHECK(tiny.row().out[0] == 0.0);
  }

  TEST_CASE("seqused_k hides the rest, leftpad_k shifts key 0, and neither is ever read") {
    Tiny tiny({kNan, 0, ln(3), kNan}, {kNan, 1, 2, kNan});
    tiny.seqused = {3};
    tiny.leftpad = {1};
    CHECK(tiny.row().out[0] == close((1.0 + 3 * 2.0) / 4.0));
    tiny.spec.causal = true;
    tiny.q_start = {0};
    CHECK(tiny.row().out[0] == 1.0);
  }

  TEST_CASE("query heads share KV heads by groups") {
    Tiny tiny({0, 0}, {7, 9});
    tiny.spec.num_heads_q = 6;
    tiny.spec.num_heads_kv = 2;
    tiny.cu_k = {0, 1};
    tiny.q = {1, 1, 1, 1, 1, 1};
    CHECK(tiny.row(0, 0).out[0] == 7.0);
    CHECK(tiny.row(0, 2).out[0] == 7.0);
    CHECK(tiny.row(0, 3).out[0] == 9.0);
    CHECK(tiny.row(0, 5).out[0] == 9.0);
  }

  TEST_CASE("pages: NHD and HND strides, dense table with a row stride, CSR") {
    // Page 2 holds keys 0 and 1 of sequence 1, page 0 its key 2. Heads hold 10 h + key + 1.
    Tiny tiny({}, {});
    tiny.spec.num_heads_q = 2;
    tiny.spec.num_heads_kv = 2;
    tiny.spec.softmax_scale = 0.0f;
    tiny.q = {1, 1};
    tiny.cu_q = {0, 0, 1};
    tiny.k.assign(12, 0.0f);
    const std::vector<float> nhd{3, 13, kNan, kNan, kNan, kNan, kNan, kNan, 1, 11, 2, 12};
    const std::vector<float> hnd{3, kNan, 13, kNan, kNan, kNan, kNan, kNan, 1, 2, 11, 12};
    const std::vector<int32_t> dense{-1, -1, -1, 2, 0, -1};
    const std::vector<int32_t> indptr{0, 0, 2}, indices{2, 0}, last{0, 1}, seqused{0, 3};
    SequenceBatch batch;
    batch.cu_seqlens_q = tiny.cu_q;
    for (const bool csr : {false, true}) {
      for (const bool heads_first : {false, true}) {
        tiny.v = heads_first ? hnd : nhd;
        AttendArgs args;
        args.q = dense_tensor(static_cast<const void*>(tiny.q.data()), DType::kF32, 1, 2, 1);
        args.kv.k = tiny.k.data();
        args.kv.v = tiny.v.data();
        args.kv.page_size = 2;
        args.kv.k_strides = args.kv.v_strides =
            heads_first ? KvStrides{4, 1, 2} : KvStrides{4, 2, 1};
        batch.block_table =
            csr ? BlockTable::csr(indptr, indices, last, 2) : BlockTable::dense(dense, 2, 2, 3);
        batch.seqused_k = csr ? std::span<const int32_t>() : std::span<const int32_t>(seqused);
        CHECK(reference::attend_row(tiny.spec, batch, args, {1, 0, 0}).out[0] == 2.0);
        CHECK(reference::attend_row(tiny.spec, batch, args, {1, 0, 1}).out[0] == 12.0);
      }
    }
  }
}

}  // namespace attnrt
