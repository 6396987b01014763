// SPDX-License-Identifier: Apache-2.0
#include "src/visible_range.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <limits>

namespace attnrt {
namespace {

// The rule asked key by key, as semantics.md states it.
bool visible(int64_t p, int64_t key, int32_t kv_len, int32_t left, int32_t right) {
  if (key < 0 || key >= kv_len) return false;
  if (left >= 0 && key < p - left) return false;
  return right < 0 || key <= p + right;
}

TEST_CASE("visible_keys is the interval of keys that the rule admits") {
  int checked = 0;
  for (const int32_t kv_len : {0, 1, 5, 9}) {
    for (const int32_t left : {-1, 0, 1, 4, 20}) {
      for (const int32_t right : {-1, 0, 1, 4, 20}) {
        for (int64_t p = -6; p < 16; ++p) {
          const KeyRange keys = visible_keys(p, kv_len, left, right);
          CAPTURE(kv_len);
          CAPTURE(left);
          CAPTURE(right);
          CAPTURE(p);
          for (int64_t key = 0; key < kv_len; ++key) {
            CHECK((key >= keys.begin && key < keys.end) == visible(p, key, kv_len, left, right));
            ++checked;
          }
          const bool empty = keys.begin == keys.end;
          if (empty) CHECK(keys.end == 0);
        }
      }
    }
  }
  CHECK(checked > 0);
}

TEST_CASE("visible_keys does not overflow at the ends of int32") {
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max();
  constexpr int32_t kMin = std::numeric_limits<int32_t>::min();
  CHECK(visible_keys(kMax, kMax, kMax, kMax).end == kMax);
  CHECK(visible_keys(kMax, kMax, 0, 0).end == 0);  // key kMax would be one past the last
  CHECK(visible_keys(int64_t{kMax} - 1, kMax, 0, 0).begin == kMax - 1);
  CHECK(visible_keys(kMin, kMax, -1, kMax).end == 0);
}

}  // namespace
}  // namespace attnrt
