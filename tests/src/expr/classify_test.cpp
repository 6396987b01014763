// SPDX-License-Identifier: Apache-2.0
#include "src/expr/classify.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "tests/support/prepared_mask.hpp"

namespace attnrt::testing {
namespace {

using expr::TileClass;
using expr::TileClassifier;

struct Tally {
  std::array<int64_t, 3> truly{};  // tiles by their true TileClass
  std::array<int64_t, 3> found{};  // of these, how many the classifier proved
  int64_t wrong = 0;

  [[nodiscard]] double share(TileClass kind) const {
    const auto at = static_cast<size_t>(kind);
    return truly[at] == 0 ? 100.0
                          : 100.0 * static_cast<double>(found[at]) / static_cast<double>(truly[at]);
  }
};

Tally check_tiles(const PreparedMask& mask, const std::vector<uint8_t>& elements, int32_t size) {
  const MaskShape& shape = mask.shape();
  TileClassifier classifier(mask.analysis());
  classifier.set_sequence(mask.scope());
  Tally tally;
  for (int32_t i = 0; i < shape.q_len; i += size) {
    const int32_t q_end = std::min(shape.q_len, i + size);
    classifier.set_queries(shape.q_begin + i, shape.q_begin + q_end);
    for (int32_t key = 0; key < shape.kv_len; key += size) {
      const int32_t key_end = std::min(shape.kv_len, key + size);
      const TileClass found = classifier.classify(key, key_end);
      const TileClass truth = mask.class_of(elements, i, q_end, key, key_end);
      ++tally.truly[static_cast<size_t>(truth)];
      if (found == truth) ++tally.found[static_cast<size_t>(truth)];
      if (found != truth && found != TileClass::kPartial) ++tally.wrong;
    }
  }
  return tally;
}

}  // namespace

TEST_CASE("no tile of the catalogue is declared empty or full that is not") {
  // Larger sizes for comparisons by hand.
  const char* asked = std::getenv("ATTNRT_TEST_MASK_TOKENS");
  const int32_t tokens = asked != nullptr ? std::atoi(asked) : 512;
  std::printf("%-26s %6s: empty and full tiles found, in percent, of %d tokens\n", "mask", "tile",
              tokens);
  for (const MaskCase& mask_case : mask_catalogue(tokens)) {
    PreparedMask mask(mask_case);
    const std::vector<uint8_t> elements = mask.elements();
    std::printf("%-26s", mask_case.name.c_str());
    for (const int32_t size : {16, 32, 64, 128, 256}) {
      const Tally tally = check_tiles(mask, elements, size);
      CHECK_MESSAGE(tally.wrong == 0, mask_case.name << " at tiles of " << size);
      std::printf(" %d: %5.1f %5.1f", size, tally.share(TileClass::kEmpty),
                  tally.share(TileClass::kFull));
    }
    std::printf("\n");
  }
}

}  // namespace attnrt::testing
