// SPDX-License-Identifier: Apache-2.0
// The rows of `lines`: names, references between them, and selection.
#include "perf/line_rows.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

std::set<std::string> names_of(const std::vector<LineRow>& rows) {
  std::set<std::string> names;
  for (const LineRow& row : rows) names.insert(row.name);
  return names;
}

std::set<std::string> selected(const std::vector<std::string>& names) {
  return names_of(select_lines(line_rows(KvLayout::kNHD), names));
}

TEST_CASE("names are unique, every row has a line and work, every row named by a line is there") {
  const std::vector<LineRow> rows = line_rows(KvLayout::kNHD);
  const std::set<std::string> names = names_of(rows);
  CHECK(names.size() == rows.size());
  for (const LineRow& row : rows) {
    CAPTURE(row.name);
    CHECK_FALSE(row.lines.empty());
    CHECK(work_of(row.shape).kv_bytes > 0);
    CHECK(row.shape.heads.q % row.shape.heads.kv == 0);
    CHECK((row.shape.layout == KvLayout::kPacked) == (row.shape.page_size == 0));
    for (const Line& line : row.lines) {
      CHECK(line.bound > 0.0);
      CHECK((line.kind == LineKind::kNear) == !line.of.empty());
      const bool pair = line.kind == LineKind::kRatio || line.kind == LineKind::kShare;
      CHECK(pair <= row.beside.has_value());
      for (const std::string& name : line.of) CHECK(names.contains(name));
    }
  }
}

TEST_CASE("the decode grid has every length, page size and number of threads") {
  const std::set<std::string> grid = selected({"decode-g4"});
  CHECK(grid.size() == 5 * 3 * 2);
  CHECK(grid.contains("decode-g4-128k-p256-t1"));
  CHECK(grid.contains("decode-g4-16x2k-p16-t2"));
}

TEST_CASE("the layout is that of all paged rows but those that name their own") {
  for (const LineRow& row : line_rows(KvLayout::kHND)) {
    CAPTURE(row.name);
    const bool own = row.name == "decode-nhd" || row.name == "paged-decode-nhd";
    const KvLayout layout = row.name == "varlen" ? KvLayout::kPacked
                            : own                ? KvLayout::kNHD
                                                 : KvLayout::kHND;
    CHECK(row.shape.layout == layout);
  }
}

TEST_CASE("a selection brings the rows that its lines are held against, and theirs") {
  CHECK(selected({"latency"}) == std::set<std::string>{"latency"});
  CHECK(selected({"f16-g16"}) == std::set<std::string>{"f16-g16", "decode-g16"});
  CHECK(selected({"decode-g5"}) ==
        std::set<std::string>{"decode-g5", "decode-g6", "decode-g7", "decode-g4-16k-p16-t2"});
  CHECK(selected({"prefill-causal", "avx2"}).size() == 2 + 6);
  CHECK(selected({}) == names_of(line_rows(KvLayout::kNHD)));
  CHECK_THROWS_WITH_AS(selected({"decode-g"}), "--only: no row is 'decode-g'; see --list",
                       BadInput);
}

TEST_CASE("the padded call is as long as the longest of the ragged ones") {
  const std::vector<LineRow> rows = select_lines(line_rows(KvLayout::kNHD), {"varlen"});
  REQUIRE(rows.size() == 1);
  int32_t longest = 0;
  for (const SequenceLengths& sequence : sequence_lengths(rows[0].shape)) {
    longest = std::max(longest, sequence.q);
  }
  const SweepCase& padded = *rows[0].beside;
  CHECK(padded.q_len == longest);
  CHECK(padded.kv_len == longest);
  CHECK(padded.batch == 8);
  CHECK(padded.ragged == 0);
}

}  // namespace
}  // namespace attnrt::perf
