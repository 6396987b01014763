// SPDX-License-Identifier: Apache-2.0
// The attention kernels, emulated, on random calls at the edges of what is allowed: head dims,
// lengths and pages around every size that kernels know, empty sequences, windows and positions far
// beyond the keys, special values where they may stand. ATTNRT_TEST_CASES asks for more of them.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/support/build.hpp"
#include "tests/support/check.hpp"
#include "tests/support/simt_attend.hpp"

namespace attnrt::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::string finding(const Problem& problem, bool reversed = false) {
  Output output = problem.make_output();
  SimtAttend options;
  options.reversed = reversed;
  std::string wrong = simt_attend(problem, output, options);
  if (wrong.empty()) {
    wrong = check_close(problem, expect(problem), output, reference::Weights::kBFloat16);
  }
  return wrong.empty() ? wrong : wrong + "\n  " + describe(problem.shape());
}

class HostileCase {
 public:
  explicit HostileCase(uint64_t seed) : random_(seed) {
    shape_.seed = shape_.page_seed = random_();
    choose_tensors();
    choose_sequences();
    choose_options();
  }

  Problem problem() {
    Problem made(shape_);
    if (shape_.spec.has_sinks && below(2) != 0) {
      for (float& sink : made.sinks) sink = of({-kInf, 0.0f, 50.0f, -50.0f, 1e4f, kNan, kInf});
    }
    for (int i = 0; i < 3 && below(2) != 0; ++i) set_special_value(made);
    return made;
  }

 private:
  int32_t below(int32_t n) { return static_cast<int32_t>(random_() % static_cast<uint64_t>(n)); }
  template <class T>
  T of(std::initializer_list<T> all) {
    return all.begin()[below(static_cast<int32_t>(all.size()))];
  }

  int32_t dim() {
    return of({1, 2, 7, 8, 9, 40, 63, 64, 65, 72, 96, 127, 128, 129, 160, 191, 192, 193, 255, 256});
  }

  void choose_tensors() {
    AttentionSpec& spec = shape_.spec;
    spec.head_dim = dim();
    spec.head_dim_v = below(2) != 0 ? spec.head_dim : dim();
    group_ = 1 + below(16);
    spec.num_heads_kv = 1 + below(group_ > 4 ? 1 : 4);
    spec.num_heads_q = group_ * spec.num_heads_kv;
    shape_.q_dtype = shape_.kv_dtype = of({DType::kBF16, DType::kF16});
    shape_.out_dtype = of({DType::kF32, DType::kBF16, DType::kF16});
    shape_.layout = of({KvLayout::kPacked, KvLayout::kNHD, KvLayout::kHND});
    shape_.page_size = of({1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 511, 512, 513, 2000});
    shape_.padded = below(3) == 0;
    shape_.csr = below(4) == 0 && shape_.layout != KvLayout::kPacked;
  }

  void choose_sequences() {
    for (int32_t left = 1 + below(5); left > 0; --left) {
      SequenceShape s;
      s.kv_len = of({0,   1,   2,   15,  16,  17,  63,  64,   65,   100,  127, 128,
                     129, 511, 512, 513, 575, 576, 577, 1023, 1024, 1025, 1537});
      s.q_len = of({0, 1, 1, 1, 2, 3, 4, 8, 15, 16, 17, 33, 40});
      if (int64_t{s.q_len} * group_ * s.kv_len > 60000) s.q_len = 1 + below(2);
      if (below(6) == 0) s.q_start = below(s.kv_len + 40) - 20;
      if (below(6) == 0) s.q_start = of({-2000, 0, 5000, -1, 2147000000, -2147000000});
      if (below(4) == 0) s.leftpad = below(40);
      if (below(4) == 0 && !shape_.csr) s.spare = below(70);
      far_ = far_ || std::abs(static_cast<double>(s.q_start.value_or(0))) > 1e6;
      shape_.sequences.push_back(s);
    }
  }

  void choose_options() {
    AttentionSpec& spec = shape_.spec;
    spec.causal = below(2) != 0;
    if (below(3) == 0) {
      spec.window_left = of({0, 1, 5, 63, 64, 65, 200, 511, 512, 600, 100000, 2147483647});
    }
    if (!spec.causal && below(3) == 0) {
      spec.window_right = of({0, 1, 5, 63, 64, 200, 512, 100000, 2147483647});
    }
    if (below(4) == 0) spec.softcap = of({1e-3f, 0.5f, 20.0f, 1e4f});
    if (below(4) == 0) spec.softmax_scale = of({0.0f, -0.3f, 3.0f, 1.0f, -0.0f});
    spec.has_sinks = below(3) == 0;
    spec.has_alibi = !far_ && below(4) == 0;  // a distance of 2^31 leaves nothing of a score
    shape_.alibi_per_seq = below(2) != 0;
  }

  // No infinities in V: where their weight rounds to 0 they are NaN, here and everywhere.
  void set_special_value(Problem& made) {
    const AttentionSpec& spec = shape_.spec;
    const auto seq = static_cast<size_t>(below(static_cast<int32_t>(shape_.sequences.size())));
    const SequenceShape& s = shape_.sequences[seq];
    if (s.kv_len == 0 || s.q_len == 0) return;
    const int32_t head = below(spec.num_heads_kv);
    switch (below(3)) {
      case 0:
        made.set_v(seq, below(s.kv_len), head, below(spec.head_dim_v), of({kNan, 6e4f, -3e4f}));
        break;
      case 1:
        made.set_k(seq, below(s.kv_len), head, below(spec.head_dim), of({kNan, kInf, -kInf, 6e4f}));
        break;
      default:
        made.set_q(seq, below(s.q_len), below(spec.num_heads_q), below(spec.head_dim),
                   of({kNan, kInf, -kInf, 6e4f, -6e4f}));
    }
  }

  std::mt19937_64 random_;
  ProblemShape shape_;
  int32_t group_ = 1;
  bool far_ = false;  // a position beyond what floats count
};

}  // namespace

TEST_SUITE("hostile calls of the CUDA kernels, emulated") {
  TEST_CASE("random ones") {
    const char* asked = std::getenv("ATTNRT_TEST_CASES");
    const int count = asked != nullptr ? std::atoi(asked) : kSlowBuild ? 5 : 100;
    int failures = 0;
    for (int i = 0; i < count && failures < 5; ++i) {
      const std::string wrong =
          finding(HostileCase(static_cast<uint64_t>(i)).problem(), i % 2 == 0);
      CHECK_MESSAGE(wrong.empty(), "case ", i, ": ", wrong);
      failures += wrong.empty() ? 0 : 1;
    }
  }

  TEST_CASE("a cap far above the scores costs them no bits") {
    ProblemShape shape;
    shape.spec.num_heads_q = 3;
    shape.spec.num_heads_kv = 1;
    shape.spec.head_dim = 64;
    shape.q_dtype = shape.kv_dtype = DType::kBF16;
    shape.sequences = {{1, 40}, {40, 100}};
    for (const float cap : {0.5f, 5.0f, 50.0f, 1e4f, 1e6f}) {
      shape.spec.softcap = cap;
      CHECK(finding(Problem(shape)) == "");
    }
  }
}

}  // namespace attnrt::test
