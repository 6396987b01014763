// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels make of rotary_q: q rotated in f32 and rounded to its own dtype.
#pragma once

#include <cmath>
#include <cstdint>

#include "backends/reference/element.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

/// The problem without rotary_q whose q is rotated by these tables.
inline Problem rotated_beforehand(const Problem& problem, const RotaryView& rotary, bool constant) {
  ProblemShape shape = problem.shape();
  shape.rotary = Rotary::kNone;
  Problem result(shape);
  const ConstTensorView q = problem.q();
  const int64_t half = rotary.rotary_dim / 2;
  for (size_t seq = 0; seq < shape.sequences.size(); ++seq) {
    const SequenceShape& s = shape.sequences[seq];
    for (int32_t token = 0; token < s.q_len; ++token) {
      const int64_t position =
          s.q_start.value_or(s.kv_len - s.q_len) + int64_t{constant ? 0 : token};
      for (int32_t head = 0; head < shape.spec.num_heads_q; ++head) {
        const int64_t row = (problem.first_row(seq) + token) * q.strides[0] + head * q.strides[1];
        for (int32_t i = 0; i < half; ++i) {
          const int32_t first = rotary.interleaved ? 2 * i : i;
          const int32_t second = rotary.interleaved ? 2 * i + 1 : i + static_cast<int32_t>(half);
          const auto value = [&](DType dtype, const void* data, int64_t at) {
            return static_cast<float>(reference::load(dtype, data, at));
          };
          const float a = value(q.dtype, q.data, row + first);
          const float b = value(q.dtype, q.data, row + second);
          const float cos = value(rotary.dtype, rotary.cos, position * half + i);
          const float sin = value(rotary.dtype, rotary.sin, position * half + i);
          result.set_q(seq, token, head, first, std::fma(a, cos, -(b * sin)));
          result.set_q(seq, token, head, second, std::fma(b, cos, a * sin));
        }
      }
    }
  }
  return result;
}

/// The same by the problem's own tables, if it has any. Elements that were set by hand are lost.
inline Problem rotated_beforehand(const Problem& problem) {
  Output unused = problem.make_output();
  const AttendArgs args = problem.args(unused);
  return rotated_beforehand(problem, args.rotary_q, args.rotary_q_constant);
}

}  // namespace attnrt::test
