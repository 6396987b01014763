// SPDX-License-Identifier: Apache-2.0
#include "tests/support/prepared_mask.hpp"

#include <doctest/doctest.h>

namespace attnrt::testing {

using expr::TileClass;

PreparedMask::PreparedMask(const MaskCase& mask)
    : shape_{mask.q_begin, mask.q_len, mask.kv_len, mask.b, mask.num_heads} {
  const Status status = expr::parse(mask.text, expression_);
  REQUIRE_MESSAGE(status.ok(), mask.name << ": " << status.message());
  prepare(mask.values());
}

PreparedMask::PreparedMask(const expr::Expr& mask, std::span<const expr::SlotValue> values,
                           const MaskShape& shape)
    : expression_(mask), shape_(shape) {
  prepare(values);
}

void PreparedMask::prepare(std::span<const expr::SlotValue> values) {
  Status status = expr::compile_mask(expression_, program_);
  REQUIRE_MESSAGE(status.ok(), status.message());
  status = expr::bind_slots(program_.slots(), values, bindings_);
  REQUIRE_MESSAGE(status.ok(), status.message());
  status = expr::Evaluator::create(expression_, values, evaluator_);
  REQUIRE_MESSAGE(status.ok(), status.message());
  analysis_ = std::make_unique<expr::MaskAnalysis>(program(), bindings_);
}

expr::SequenceScope PreparedMask::scope() const {
  expr::SequenceScope scope;
  scope.b = shape_.b;
  scope.h_end = scope.hkv_end = shape_.num_heads;
  scope.q_len = shape_.q_len;
  scope.kv_len = shape_.kv_len;
  return scope;
}

bool PreparedMask::visible(int32_t h, int64_t q, int64_t key) {
  expr::Point point;
  point.b = shape_.b;
  point.h = point.hkv = h;
  point.q = q;
  point.kv = key;
  point.q_len = shape_.q_len;
  point.kv_len = shape_.kv_len;
  return evaluator_.predicate(point);
}

std::vector<uint8_t> PreparedMask::elements() {
  std::vector<uint8_t> out;
  out.reserve(static_cast<size_t>(shape_.q_len) * static_cast<size_t>(shape_.kv_len));
  for (int32_t i = 0; i < shape_.q_len; ++i) {
    for (int32_t key = 0; key < shape_.kv_len; ++key) {
      int heads = 0;
      for (int32_t h = 0; h < shape_.num_heads; ++h) {
        heads += visible(h, int64_t{shape_.q_begin} + i, key) ? 1 : 0;
      }
      out.push_back(static_cast<uint8_t>(heads));
    }
  }
  return out;
}

TileClass PreparedMask::class_of(const std::vector<uint8_t>& elements, int32_t q_begin,
                                 int32_t q_end, int32_t key_begin, int32_t key_end) const {
  bool all = true;
  bool any = false;
  for (int32_t i = q_begin; i < q_end && (all || !any); ++i) {
    const uint8_t* row = elements.data() + int64_t{i} * shape_.kv_len;
    for (int32_t key = key_begin; key < key_end; ++key) {
      any |= row[key] > 0;
      all &= row[key] == shape_.num_heads;
    }
  }
  if (all) return TileClass::kFull;
  return any ? TileClass::kPartial : TileClass::kEmpty;
}

}  // namespace attnrt::testing
