// SPDX-License-Identifier: Apache-2.0
// What a problem looks like, for messages.
#include "src/expr/program.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

std::string describe(const ProblemShape& shape) {
  const AttentionSpec& s = shape.spec;
  std::string text = std::string(to_string(shape.q_dtype)) + " q, " + to_string(shape.kv_dtype) +
                     " kv, " + to_string(shape.out_dtype) + " out, " + to_string(shape.layout);
  if (shape.layout != KvLayout::kPacked) text += "/" + std::to_string(shape.page_size);
  const auto add = [&](bool condition, const std::string& words) {
    if (condition) text += ", " + words;
  };
  add(true, std::to_string(s.num_heads_q) + "/" + std::to_string(s.num_heads_kv) + " heads of " +
                std::to_string(s.head_dim) + "/" + std::to_string(s.head_dim_v));
  add(shape.csr, "csr");
  add(shape.mla, "mla");
  add(shape.padded, "padded");
  add(s.causal, "causal");
  add(s.window_left >= 0 || s.window_right >= 0,
      "window " + std::to_string(s.window_left) + ".." + std::to_string(s.window_right));
  add(s.softcap > 0.0f, "softcap " + std::to_string(s.softcap));
  add(s.has_alibi, shape.alibi_per_seq ? "alibi per sequence" : "alibi");
  add(s.has_sinks, "sinks");
  if (s.mask.valid()) add(true, "mask " + expr::to_string(s.mask.data()->source));
  if (s.score.valid()) add(true, "score " + expr::to_string(s.score.data()->source));
  add(s.normalizer == Normalizer::kPointwise, "pointwise");
  add(s.num_branches > 1, std::to_string(s.num_branches) + " branches");
  add(shape.gate, "gate");
  add(shape.residual, "residual");
  add(s.softmax_scale.has_value(), "scale " + std::to_string(s.softmax_scale.value_or(0.0f)));
  add(shape.rotary == Rotary::kHalves, "rotary halves");
  add(shape.rotary == Rotary::kInterleaved, "rotary interleaved");
  add(shape.rotary_constant, "constant");
  add(true, "seed " + std::to_string(shape.seed) + ":");
  for (size_t b = 0; b < shape.sequences.size() && b < 6; ++b) {
    const SequenceShape& q = shape.sequences[b];
    text += " (q " + std::to_string(q.q_len) + ", kv " + std::to_string(q.kv_len);
    add(q.q_start.has_value(), "start " + std::to_string(q.q_start.value_or(0)));
    add(q.leftpad != 0, "leftpad " + std::to_string(q.leftpad));
    add(q.spare != 0, "spare " + std::to_string(q.spare));
    text += ")";
  }
  return text;
}

}  // namespace attnrt::test
