// SPDX-License-Identifier: Apache-2.0
#include "src/expr/plan_runs.hpp"

#include <doctest/doctest.h>

#include "tests/support/prepared_mask.hpp"

namespace attnrt::testing {
namespace {

using expr::KeyRun;
using expr::RunList;
using expr::RunRequest;
using expr::TileClass;
using expr::TileClassifier;

RunRequest request_of(const MaskShape& shape, int32_t tile_tokens) {
  RunRequest request;
  request.q_begin = shape.q_begin;
  request.q_end = shape.q_begin + shape.q_len;
  request.kv_len = shape.kv_len;
  request.tile_tokens = tile_tokens;
  return request;
}

RunList plan(const PreparedMask& mask, const RunRequest& request) {
  TileClassifier classifier(mask.analysis());
  classifier.set_sequence(mask.scope());
  RunList runs;
  append_runs(classifier, request, runs);
  return runs;
}

// The class that runs give to a block of keys.
TileClass class_in(std::span<const KeyRun> runs, int32_t key_begin, int32_t key_end) {
  for (const KeyRun& run : runs) {
    if (run.key_begin() >= key_end || run.key_end() <= key_begin) continue;
    return run.full() ? TileClass::kFull : TileClass::kPartial;
  }
  return TileClass::kEmpty;
}

void check_order(std::span<const KeyRun> runs, int32_t kv_len) {
  for (size_t i = 0; i < runs.size(); ++i) {
    CHECK(runs[i].key_begin() >= 0);
    CHECK(runs[i].key_begin() < runs[i].key_end());
    CHECK(runs[i].key_end() <= kv_len);
    if (i == 0) continue;
    CHECK(runs[i - 1].key_end() <= runs[i].key_begin());
    // Neighbours of one kind would be one run.
    CHECK((runs[i - 1].key_end() < runs[i].key_begin() || runs[i - 1].full() != runs[i].full()));
  }
}

// Every block of every tile against its elements; returns how many the plan could have decided
// better.
int64_t check_plan(const PreparedMask& mask, const std::vector<uint8_t>& elements,
                   const RunRequest& request, const RunList& list) {
  const int32_t q_len = request.q_end - request.q_begin;
  int64_t undecided = 0;
  int32_t tile = 0;
  for (int32_t i = 0; i < q_len; i += request.tile_tokens, ++tile) {
    const auto runs = list.tile(tile);
    check_order(runs, request.kv_len);
    for (int32_t key = 0; key < request.kv_len; key += request.block_keys) {
      const int32_t key_end = std::min(request.kv_len, key + request.block_keys);
      const TileClass truth =
          mask.class_of(elements, i, std::min(q_len, i + request.tile_tokens), key, key_end);
      const TileClass found = class_in(runs, key, key_end);
      CHECK((found == truth || found == TileClass::kPartial));
      undecided += found != truth ? 1 : 0;
    }
  }
  CHECK(list.num_tiles() == tile);
  return undecided;
}

PreparedMask prepared(const std::string& text, const MaskShape& shape,
                      std::vector<expr::SlotValue> values = {}) {
  expr::Expr mask;
  REQUIRE(expr::parse(text, mask).ok());
  return PreparedMask(mask, values, shape);
}

}  // namespace

TEST_CASE("runs of the catalogue are what evaluating every element gives") {
  for (const MaskCase& mask_case : mask_catalogue(512)) {
    CAPTURE(mask_case.name);
    PreparedMask mask(mask_case);
    const std::vector<uint8_t> elements = mask.elements();
    for (const int32_t tile_tokens : {16, 48, 64, 256}) {
      CAPTURE(tile_tokens);
      RunRequest request = request_of(mask.shape(), tile_tokens);
      request.refine_depth = 0;
      const int64_t undecided = check_plan(mask, elements, request, plan(mask, request));
      request.refine_depth = 3;
      const int64_t refined = check_plan(mask, elements, request, plan(mask, request));
      CHECK(refined <= undecided);
    }
  }
}

TEST_CASE("a plan is never less decided than its blocks are one by one") {
  for (const MaskCase& mask_case : mask_catalogue(512)) {
    CAPTURE(mask_case.name);
    PreparedMask mask(mask_case);
    RunRequest request = request_of(mask.shape(), 64);
    request.refine_depth = 0;
    const RunList list = plan(mask, request);
    TileClassifier classifier(mask.analysis());
    classifier.set_sequence(mask.scope());
    for (int32_t tile = 0; tile < list.num_tiles(); ++tile) {
      const int32_t begin = request.q_begin + tile * 64;
      classifier.set_queries(begin, std::min(request.q_end, begin + 64));
      for (int32_t key = 0; key < request.kv_len; key += 64) {
        const int32_t key_end = std::min(request.kv_len, key + 64);
        const TileClass alone = classifier.classify(key, key_end);
        const TileClass planned = class_in(list.tile(tile), key, key_end);
        CHECK((planned == alone || alone == TileClass::kPartial));
      }
    }
  }
}

TEST_CASE("runs at offsets, with odd lengths, with more queries than keys") {
  for (const MaskShape shape : {MaskShape{0, 1, 1}, MaskShape{0, 200, 37}, MaskShape{1000, 3, 1003},
                                MaskShape{77, 131, 208}, MaskShape{5, 64, 64},
                                MaskShape{0, 65, 129}, MaskShape{300, 7, 65}}) {
    for (const char* text : {"kv <= q", "kv <= q && q - kv < 50", "kv > q", "kv % 3 == q % 3",
                             "q % 64 >= 32 && kv <= q", "(q ^ kv) < 64", "kv <= q * 2 - 100"}) {
      CAPTURE(text);
      PreparedMask mask = prepared(text, shape);
      const std::vector<uint8_t> elements = mask.elements();
      for (const int32_t tile_tokens : {1, 7, 32, 256}) {
        const RunRequest request = request_of(shape, tile_tokens);
        check_plan(mask, elements, request, plan(mask, request));
      }
    }
  }
}

TEST_CASE("closed forms leave no block undecided that need not be") {
  for (const char* text : {"kv <= q", "kv <= q && q - kv < 100", "abs(q - kv) <= 70", "kv >= q",
                           "q >= kv || q < kv", "kv < 77 || kv <= q", "true", "false"}) {
    CAPTURE(text);
    PreparedMask mask = prepared(text, {13, 300, 313});
    const RunRequest request = request_of(mask.shape(), 32);
    CHECK(check_plan(mask, mask.elements(), request, plan(mask, request)) == 0);
  }
}

TEST_CASE("nothing to see gives empty tiles, nothing to ask none") {
  PreparedMask mask = prepared("kv < q - 1000", {0, 100, 100});
  const RunList none = plan(mask, request_of(mask.shape(), 32));
  CHECK(none.num_tiles() == 4);
  CHECK(none.runs.empty());
  CHECK(plan(mask, request_of({0, 0, 100}, 32)).num_tiles() == 0);
  const RunList no_keys = plan(mask, request_of({0, 40, 0}, 32));
  CHECK(no_keys.num_tiles() == 2);
  CHECK(no_keys.runs.empty());
}

TEST_CASE("cropping moves outer ends over keys that no row sees") {
  PreparedMask mask = prepared("q // 16 == kv // 16", {0, 256, 256});
  RunRequest request = request_of(mask.shape(), 16);
  request.crop_keys = 16;
  const RunList list = plan(mask, request);
  for (int32_t tile = 0; tile < 16; ++tile) {
    REQUIRE(list.tile(tile).size() == 1);
    CHECK(list.tile(tile)[0].key_begin() == 16 * tile);
    CHECK(list.tile(tile)[0].key_end() == 16 * tile + 16);
  }
  for (const MaskCase& mask_case : mask_catalogue(256)) {
    CAPTURE(mask_case.name);
    PreparedMask other(mask_case);
    RunRequest cropped = request_of(other.shape(), 32);
    cropped.crop_keys = 1;
    const RunList runs = plan(other, cropped);
    const std::vector<uint8_t> elements = other.elements();
    for (int32_t i = 0; i < other.shape().q_len; ++i) {
      for (int32_t key = 0; key < other.shape().kv_len; ++key) {
        const auto at = static_cast<size_t>(i) * static_cast<size_t>(other.shape().kv_len) +
                        static_cast<size_t>(key);
        if (elements[at] == 0) continue;
        CHECK(class_in(runs.tile(i / 32), key, key + 1) != TileClass::kEmpty);
      }
    }
  }
}

TEST_CASE("a million tokens are planned in less than a megabyte") {
  constexpr int32_t kTokens = 1 << 20;
  std::vector<int32_t> doc(kTokens);
  for (size_t i = 0; i < doc.size(); ++i) doc[i] = static_cast<int32_t>(i * 64 / doc.size());
  const std::vector<expr::SlotValue> values = {
      expr::buffer_value("doc", expr::ElementType::kI32, doc.data(), {kTokens})};
  for (const char* text : {"kv <= q", "kv <= q && q - kv < 4096", "doc[q] == doc[kv] && kv <= q"}) {
    CAPTURE(text);
    PreparedMask mask = prepared(text, {0, kTokens, kTokens}, values);
    for (const int32_t tile_tokens : {32, 128, 256}) {
      const RunList list = plan(mask, request_of(mask.shape(), tile_tokens));
      CHECK(list.num_tiles() == kTokens / tile_tokens);
      CHECK(list.bytes() < 1'000'000);
      // The last row of the last tile sees itself.
      CHECK(list.runs.back().key_end() == kTokens);
    }
    CHECK(mask.analysis().index_bytes() == 0);
  }
}

TEST_CASE("heads of a mask that does not ask for them share one list") {
  const PreparedMask plain = prepared("kv <= q", {0, 8, 8});
  CHECK(expr::head_classes(plain.program(), 8, 2).size() == 1);
  const PreparedMask heads = prepared("q - kv < h * 8", {0, 8, 8});
  const auto classes = expr::head_classes(heads.program(), 8, 2);
  REQUIRE(classes.size() == 2);
  CHECK(classes[1].h_begin == 4);
  CHECK(classes[1].h_end == 8);
  CHECK(classes[1].hkv_begin == 1);
}

}  // namespace attnrt::testing
