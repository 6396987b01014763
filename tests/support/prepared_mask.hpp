// SPDX-License-Identifier: Apache-2.0
// A mask ready to be asked: compiled, bound, and every element evaluated one by one.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "src/expr/classify.hpp"
#include "src/expr/evaluate.hpp"
#include "tests/support/mask_catalogue.hpp"

namespace attnrt::testing {

struct MaskShape {
  int32_t q_begin = 0;
  int32_t q_len = 0;
  int32_t kv_len = 0;
  int32_t b = 0;
  int32_t num_heads = 1;
};

class PreparedMask {
 public:
  explicit PreparedMask(const MaskCase& mask);
  PreparedMask(const expr::Expr& mask, std::span<const expr::SlotValue> values,
               const MaskShape& shape);

  [[nodiscard]] const expr::ProgramData& program() const { return *program_.data(); }
  [[nodiscard]] const expr::Bindings& bindings() const { return bindings_; }
  [[nodiscard]] const expr::MaskAnalysis& analysis() const { return *analysis_; }
  [[nodiscard]] const expr::Expr& expression() const { return expression_; }
  [[nodiscard]] const MaskShape& shape() const { return shape_; }

  /// All heads together.
  [[nodiscard]] expr::SequenceScope scope() const;

  /// Row by row, q_len x kv_len: the number of heads in which the element is visible.
  std::vector<uint8_t> elements();

  /// The class of a tile in numbers of query tokens and keys, from elements().
  [[nodiscard]] expr::TileClass class_of(const std::vector<uint8_t>& elements, int32_t q_begin,
                                         int32_t q_end, int32_t key_begin, int32_t key_end) const;

  /// Whether the mask shows this element to head h.
  bool visible(int32_t h, int64_t q, int64_t key);

 private:
  void prepare(std::span<const expr::SlotValue> values);

  expr::Expr expression_;
  MaskShape shape_;
  expr::MaskProgram program_;
  expr::Bindings bindings_;
  std::unique_ptr<expr::MaskAnalysis> analysis_;
  expr::Evaluator evaluator_;
};

}  // namespace attnrt::testing
