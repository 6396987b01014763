// SPDX-License-Identifier: Apache-2.0
// From scores to weights, in base 2. A thread holds, of its warp's 16 rows, elements 2t and 2t + 1
// of rows g and g + 8 in each tile of 8 keys (g = lane / 4, t = lane % 4): the "upper" and the
// "lower" row.
//
// Sums are kept apart for each 16 keys of a block and added up in a fixed order at the end of a
// split. So a warp that sees only 16 keys of each block (four warps on 16 rows) adds in the same
// order as one that sees all 64.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/expression.cuh"
#include "backends/cuda/kernels/rows.cuh"
#include "backends/cuda/kernels/shape.hpp"
#include "backends/cuda/kernels/state.cuh"

namespace attnrt::cuda {

/// One number for each of a thread's two rows.
struct RowPair {
  float upper;
  float lower;
};

template <class T, class Shape, class Expression = NoExpression>
class Softmax {
 public:
  static constexpr int kTiles = Shape::kKeyTiles;
  using Scores = float[kTiles][4];

  ATTNRT_DEVICE Softmax(const AttendParams& params, const Rows& rows, uint32_t row_warp,
                        uint32_t key_warp, const Expression& expression)
      : params_(params),
        row_(row_warp * 16 + device::lane_index() / 4),
        first_key_(static_cast<int32_t>(key_warp * kTiles * 8 + device::lane_index() % 4 * 2)),
        key_warp_(key_warp),
        asker_(expression) {
    ATTNRT_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const Row row = rows.row(params, row_ + 8 * half);
      keys_[half] = rows.keys_of(params, row.token);
      if (!row.exists) keys_[half] = {0, 0};
      asker_.set_row(half, rows, row);
    }
    // Both ends grow from row to row; rows that do not exist come last.
    const Row first = rows.row(params, row_warp * 16);
    const Row last = rows.last_row(params, row_warp * 16 + 15);
    warp_keys_ = {rows.keys_of(params, first.token).begin, rows.keys_of(params, last.token).end};
    if (!first.exists) warp_keys_ = {0, 0};
  }

  /// An empty state.
  ATTNRT_DEVICE void begin() {
    max_[0] = max_[1] = -device::infinity();
    ATTNRT_UNROLL
    for (int group = 0; group < Shape::kSumGroups; ++group)
      sums_[0][group] = sums_[1][group] = 0.0f;
  }

  /// Turns the products of the block of keys from `block_key` on into weights, and says what sums
  /// so far are to be multiplied with. Where warps share rows, weights go to shared memory too.
  ATTNRT_DEVICE RowPair weigh(const Rows& rows, Scores& scores, int32_t block_key,
                              uint32_t weights) {
    transform(rows, scores, block_key);
    if (undecided() || !rows.all_visible(block_key)) mask(scores, block_key);
    float top[2] = {-device::infinity(), -device::infinity()};
    ATTNRT_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) top[j / 2] = device::maximum(top[j / 2], scores[n][j]);
    }
    block_maximum(top);
    float rescale[2];
    float ref[2];
    ATTNRT_UNROLL
    for (int half = 0; half < 2; ++half) {
      const float next = device::maximum(max_[half], top[half]);
      ref[half] = next == -device::infinity() ? 0.0f : next;
      rescale[half] = device::exp2_fast(device::add(max_[half], -ref[half]));
      max_[half] = next;
    }
    ATTNRT_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) {
        scores[n][j] = device::exp2_fast(device::add(scores[n][j], -ref[j / 2]));
      }
    }
    ATTNRT_UNROLL
    for (int half = 0; half < 2; ++half) {
      ATTNRT_UNROLL
      for (int group = 0; group < Shape::kSumGroups; ++group) {
        const float* a = &scores[2 * group][2 * half];
        const float* b = &scores[2 * group + 1][2 * half];
        const float sum = device::add(device::add(a[0], a[1]), device::add(b[0], b[1]));
        sums_[half][group] = device::fma(sums_[half][group], rescale[half], sum);
      }
    }
    if constexpr (Shape::kKeyWarps > 1) put_weights(scores, weights);
    return {rescale[0], rescale[1]};
  }

  /// Weights of 16 rows and the `step`-th 16 keys as the first operand of mma.
  ATTNRT_DEVICE void load_weights(uint32_t (&a)[4], const Scores& scores, uint32_t step,
                                  uint32_t weights) const {
    if constexpr (Shape::kKeyWarps > 1) {
      const uint32_t row = row_ - device::lane_index() / 4 + device::lane_index() % 16;
      device::load_matrix(a, weights + swizzled<8>(row, step * 2 + device::lane_index() / 16));
    } else {
      const float* low = scores[2 * step];
      const float* high = scores[2 * step + 1];
      a[0] = device::pack<T>(low[0], low[1]);
      a[1] = device::pack<T>(low[2], low[3]);
      a[2] = device::pack<T>(high[0], high[1]);
      a[3] = device::pack<T>(high[2], high[3]);
    }
  }

  /// Weights into shared memory, where they are not there anyway.
  ATTNRT_DEVICE void store_weights(const Scores& scores, uint32_t weights) const {
    if constexpr (Shape::kKeyWarps == 1) put_weights(scores, weights);
  }

  /// Some row of the warp sees one of the 64 keys from `block_key` on. Warps that share rows meet
  /// at barriers in every block, so they always see some.
  [[nodiscard]] ATTNRT_DEVICE bool sees_some(int32_t block_key) const {
    if constexpr (Shape::kKeyWarps > 1) return true;
    return warp_keys_.begin < block_key + kBlockKeys && warp_keys_.end > block_key;
  }

  /// Whether the mask has to be asked in the block of keys that comes.
  ATTNRT_DEVICE void set_undecided(bool undecided) {
    if constexpr (Expression::kMask) undecided_ = undecided;
  }
  [[nodiscard]] ATTNRT_DEVICE bool undecided() const {
    if constexpr (Expression::kMask) return undecided_;
    return false;
  }

  /// The upper (0) or lower (1) row sees the key.
  [[nodiscard]] ATTNRT_DEVICE bool sees(int half, int32_t key) const {
    const bool inside = key >= keys_[half].begin && key < keys_[half].end;
    if constexpr (Expression::kMask) {
      return inside && (!undecided_ || asker_.sees(half, key));
    }
    return inside;
  }

  /// The states of this thread's two rows over all keys since begin().
  ATTNRT_DEVICE void finish(RowState (&state)[2]) const {
    float sums[2][4];
    ATTNRT_UNROLL
    for (int half = 0; half < 2; ++half) {
      ATTNRT_UNROLL
      for (int group = 0; group < Shape::kSumGroups; ++group) {
        float sum = sums_[half][group];
        sum = device::add(sum, device::shuffle_xor(sum, 1));
        sums[half][group] = device::add(sum, device::shuffle_xor(sum, 2));
      }
    }
    if constexpr (Shape::kKeyWarps > 1) exchange_sums(sums);
    ATTNRT_UNROLL
    for (int half = 0; half < 2; ++half) {
      state[half].ref = device::mul(max_[half], kLn2);
      state[half].sum = device::add(device::add(sums[half][0], sums[half][1]),
                                    device::add(sums[half][2], sums[half][3]));
    }
  }

 private:
  // Scale, softcap and ALiBi.
  ATTNRT_DEVICE void transform(const Rows& rows, Scores& scores, int32_t block_key) const {
    const bool capped = params_.softcap_log2 > 0.0f;
    ATTNRT_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) {
        const float x = device::mul(scores[n][j], params_.scale_log2);
        scores[n][j] = capped ? device::mul(params_.softcap_log2, hyperbolic_tangent(x)) : x;
      }
    }
    if (params_.alibi != nullptr) add_distance(rows, scores, block_key);
    if constexpr (Expression::kScore) ask_scores(scores, block_key);
  }

  // From natural units to those of base 2.
  ATTNRT_DEVICE void ask_scores(Scores& scores, int32_t block_key) const {
    ATTNRT_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int32_t key = block_key + first_key_ + n * 8 + j % 2;
        scores[n][j] = device::mul(asker_.score(j / 2, key, scores[n][j]), kLog2E);
      }
    }
  }

  // 1 - 2 / (exp(2x) + 1) is off by 1e-7 of 1, which a cap far above the scores would magnify: near
  // 0 it is the series, whose first term left out is 9e-9 of the result.
  static ATTNRT_DEVICE float hyperbolic_tangent(float x) {
    const float e = device::exp2_fast(device::mul(x, 2.0f * kLog2E));
    const float far = device::fma(-2.0f, device::rcp_fast(device::add(e, 1.0f)), 1.0f);
    const float square = device::mul(x, x);
    float series = device::fma(square, 62.0f / 2835.0f, -17.0f / 315.0f);
    series = device::fma(square, series, 2.0f / 15.0f);
    series = device::fma(square, series, -1.0f / 3.0f);
    const float near = device::fma(device::mul(x, square), series, x);
    return device::absolute(x) < 0.25f ? near : far;
  }

  ATTNRT_DEVICE void add_distance(const Rows& rows, Scores& scores, int32_t block_key) const {
    ATTNRT_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      const Row row = rows.row(params_, row_ + 8 * half);
      if (!row.exists) continue;
      const float slope =
          device::mul(device::load(params_.alibi + rows.alibi_row(params_) + row.head),
                      Expression::kScore ? 1.0f : kLog2E);
      const auto from = static_cast<float>(rows.position(row.token) - block_key - first_key_);
      ATTNRT_UNROLL
      for (uint32_t n = 0; n < kTiles; ++n) {
        ATTNRT_UNROLL
        for (uint32_t j = 0; j < 2; ++j) {
          const float distance =
              device::absolute(device::add(from, -static_cast<float>(n * 8 + j)));
          float& score = scores[n][2 * half + j];
          score = device::fma(-slope, distance, score);
        }
      }
    }
  }

  ATTNRT_DEVICE void mask(Scores& scores, int32_t block_key) const {
    ATTNRT_UNROLL
    for (int n = 0; n < kTiles; ++n) {
      ATTNRT_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int32_t key = block_key + first_key_ + n * 8 + j % 2;
        if (!sees(j / 2, key)) scores[n][j] = -device::infinity();
      }
    }
  }

  // From a thread's maximum to that of its row over the whole block.
  ATTNRT_DEVICE void block_maximum(float (&top)[2]) const {
    ATTNRT_UNROLL
    for (int half = 0; half < 2; ++half) {
      top[half] = device::maximum(top[half], device::shuffle_xor(top[half], 1));
      top[half] = device::maximum(top[half], device::shuffle_xor(top[half], 2));
    }
    if constexpr (Shape::kKeyWarps > 1) {
      const uint32_t maxima = device::shared_base() + Shape::kMaxima;
      if (device::lane_index() % 4 == 0) {
        device::shared_store(maxima + (key_warp_ * Shape::kRows + row_) * 4, top[0]);
        device::shared_store(maxima + (key_warp_ * Shape::kRows + row_ + 8) * 4, top[1]);
      }
      device::sync_block();
      ATTNRT_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        ATTNRT_UNROLL
        for (uint32_t w = 0; w < Shape::kKeyWarps; ++w) {
          const uint32_t at = maxima + (w * Shape::kRows + row_ + 8 * half) * 4;
          top[half] = device::maximum(top[half], device::shared_load<float>(at));
        }
      }
    }
  }

  ATTNRT_DEVICE void exchange_sums(float (&sums)[2][4]) const {
    const uint32_t base = device::shared_base() + Shape::kSums;
    if (device::lane_index() % 4 == 0) {
      ATTNRT_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        ATTNRT_UNROLL
        for (uint32_t group = 0; group < Shape::kSumGroups; ++group) {
          const uint32_t of_block = key_warp_ * Shape::kSumGroups + group;
          device::shared_store(base + (of_block * Shape::kRows + row_ + 8 * half) * 4,
                               sums[half][group]);
        }
      }
    }
    device::sync_block();
    ATTNRT_UNROLL
    for (uint32_t half = 0; half < 2; ++half) {
      ATTNRT_UNROLL
      for (uint32_t group = 0; group < 4; ++group) {
        sums[half][group] =
            device::shared_load<float>(base + (group * Shape::kRows + row_ + 8 * half) * 4);
      }
    }
  }

  ATTNRT_DEVICE void put_weights(const Scores& scores, uint32_t weights) const {
    const uint32_t lane = device::lane_index();
    ATTNRT_UNROLL
    for (uint32_t n = 0; n < kTiles; ++n) {
      ATTNRT_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        const uint32_t at = swizzled<8>(row_ + 8 * half, key_warp_ * kTiles + n) + lane % 4 * 4;
        device::shared_store(weights + at,
                             device::pack<T>(scores[n][2 * half], scores[n][2 * half + 1]));
      }
    }
  }

  const AttendParams& params_;
  const uint32_t row_;       // of the block, the upper one
  const int32_t first_key_;  // of this thread within a block of keys
  const uint32_t key_warp_;
  KeyInterval keys_[2];
  KeyInterval warp_keys_;  // of all 16 rows
  float max_[2];
  float sums_[2][Shape::kSumGroups];
  Asker<Expression> asker_;
  bool undecided_ = false;
};

}  // namespace attnrt::cuda
