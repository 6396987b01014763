// SPDX-License-Identifier: Apache-2.0
// The rows. Figures in comments are those of the prototype on two cores of Emerald Rapids.
#include "perf/line_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

constexpr int32_t kTwoThreads = 2;

Line percent(double bound) { return {LineKind::kPercent, bound, {}}; }
Line near(double points, std::vector<std::string> of) {
  return {LineKind::kNear, points, std::move(of)};
}

// One query token and bf16, D 128, pages of 16 in random order, two threads, unless changed.
SweepCase decode(KvLayout layout, Heads heads, int32_t kv_len) {
  SweepCase c;
  c.heads = heads;
  c.head_dim = 128;
  c.head_dim_v = 128;
  c.layout = layout;
  c.page_size = 16;
  c.batch = 1;
  c.q_len = 1;
  c.kv_len = kv_len;
  c.threads = kTwoThreads;
  return c;
}

SweepCase prefill(KvLayout layout, Heads heads, int32_t head_dim, int32_t length, bool causal) {
  SweepCase c = decode(layout, heads, length);
  c.head_dim = head_dim;
  c.head_dim_v = head_dim;
  c.q_len = length;
  c.causal = causal;
  return c;
}

struct Length {
  const char* name;
  int32_t batch;
  int32_t kv_len;
};

void add_decode_grid(KvLayout layout, std::vector<LineRow>& rows) {
  constexpr Length kLengths[] = {{"4k", 1, 4096},
                                 {"16k", 1, 16384},
                                 {"64k", 1, 65536},
                                 {"128k", 1, 131072},
                                 {"16x2k", 16, 2048}};
  for (const Length& length : kLengths) {
    for (const int32_t page_size : {16, 64, 256}) {
      for (const int32_t threads : {1, 2}) {
        SweepCase c = decode(layout, {32, 8}, length.kv_len);
        c.batch = length.batch;
        c.page_size = page_size;
        c.threads = threads;
        rows.push_back({fmt::format("decode-g4-{}-p{}-t{}", length.name, page_size, threads),
                        fmt::format("decode group 4, {} keys, pages of {}, {} thread{}",
                                    length.name, page_size, threads, threads == 1 ? "" : "s"),
                        c,
                        {percent(86)},  // 87.5
                        {}});
      }
    }
  }
}

// Decode at 16K with 8 KV heads; group 1 is MHA with 32.
struct Group {
  int32_t group;
  double line;        // percent of the limit; 0: held to its neighbours only
  double f16_points;  // f16 at most so far below bf16; 0: no row
};

constexpr Group kGroups[] = {{1, 90, 3},                                                // 93
                             {2, 90, 3},                                                // 91
                             {3, 0, 0},  {4, 86, 3}, {5, 0, 0}, {6, 0, 0}, {7, 79, 3},  // 80
                             {8, 79, 3},                                                // 79
                             {12, 0, 0}, {16, 77, 6}};                                  // 78

Heads heads_of(int32_t group) { return group == 1 ? Heads{32, 32} : Heads{8 * group, 8}; }

// Group 4's row is part of the grid.
std::string group_row(int32_t group) {
  if (group == 1) return "decode-mha";
  return group == 4 ? "decode-g4-16k-p16-t2" : fmt::format("decode-g{}", group);
}

void add_groups(KvLayout layout, std::vector<LineRow>& rows) {
  const auto add = [&](const Group& group, std::vector<Line> lines) {
    rows.push_back({group_row(group.group),
                    fmt::format("decode group {}, 16k keys", group.group),
                    decode(layout, heads_of(group.group), 16384),
                    std::move(lines),
                    {}});
  };
  for (const Group& group : kGroups) {
    if (group.line > 0.0 && group.group != 4) add(group, {percent(group.line)});
  }
  // No group more than 5 points below its neighbours.
  add({3, 0, 0}, {near(5, {group_row(2), group_row(4)})});
  add({5, 0, 0}, {near(5, {group_row(4), group_row(6)})});
  add({6, 0, 0}, {near(5, {group_row(5), group_row(7)})});
  add({12, 0, 0}, {near(5, {group_row(8), group_row(16)})});
}

void add_other_decode(KvLayout layout, std::vector<LineRow>& rows) {
  SweepCase c = decode(layout, {8, 1}, 65536);
  c.page_size = 64;
  rows.push_back({"decode-8-1", "decode 8/1 heads, 64k keys, pages of 64", c, {percent(72)}, {}});
  rows.push_back({"decode-nhd",
                  "decode group 4, 16k keys, row-major NHD pages of 16",
                  decode(KvLayout::kNHD, {32, 8}, 16384),
                  {percent(60)},
                  {}});
  for (const int32_t group : {1, 4}) {
    for (const int32_t q_len : {2, 3, 4, 6, 8}) {
      SweepCase spec = decode(layout, heads_of(group), 16384);
      spec.q_len = q_len;
      spec.causal = true;
      rows.push_back({fmt::format("spec-g{}-q{}", group, q_len),
                      fmt::format("{} query tokens, group {}, 16k keys", q_len, group),
                      spec,
                      {percent(78)},
                      {}});
    }
  }
  rows.push_back({"latency",
                  "decode group 4, 512 keys",
                  decode(layout, {32, 8}, 512),
                  {{LineKind::kAbove, 20.0, {}}},
                  {}});
}

void add_prefill(KvLayout layout, std::vector<LineRow>& rows) {
  const auto add = [&](const char* name, const char* work, const SweepCase& c, double line) {
    rows.push_back({name, work, c, {percent(line)}, {}});
  };
  add("prefill-full", "prefill D 128, 2k", prefill(layout, {32, 8}, 128, 2048, false), 86);  // 87
  add("prefill-causal", "prefill D 128, 2k causal", prefill(layout, {32, 8}, 128, 2048, true),
      84);  // 85
  add("prefill-causal-8k", "prefill D 128, 8k causal", prefill(layout, {32, 8}, 128, 8192, true),
      86);  // 87
  add("prefill-d64-full", "prefill 16/16 heads D 64, 2k",
      prefill(layout, {16, 16}, 64, 2048, false), 81);  // 82
  add("prefill-d64-causal", "prefill 16/16 heads D 64, 2k causal",
      prefill(layout, {16, 16}, 64, 2048, true), 76);  // 77
}

void add_avx2(KvLayout layout, std::vector<LineRow>& rows) {
  const auto add = [&](const std::string& name, const std::string& work, SweepCase c, double line) {
    c.isa = "avx2";
    rows.push_back({"avx2-" + name, "AVX2: " + work, c, {percent(line)}, {}});
  };
  constexpr Group kAvx2Groups[] = {{1, 90, 0}, {2, 90, 0}, {4, 80, 0}, {8, 67, 0}};  // 94 90 80 68
  for (const Group& group : kAvx2Groups) {
    add(fmt::format("decode-g{}", group.group),
        fmt::format("decode group {}, 16k keys", group.group),
        decode(layout, heads_of(group.group), 16384), group.line);
  }
  add("prefill-full", "prefill D 128, 2k", prefill(layout, {32, 8}, 128, 2048, false), 88);  // 89.5
  add("prefill-causal", "prefill D 128, 2k causal", prefill(layout, {32, 8}, 128, 2048, true),
      88);  // 88
}

void add_varlen(std::vector<LineRow>& rows) {
  SweepCase c = prefill(KvLayout::kPacked, {16, 16}, 64, 2048, false);
  c.page_size = 0;
  c.batch = 8;
  c.ragged = 64;
  int32_t longest = 0;
  for (const SequenceLengths& sequence : sequence_lengths(c)) {
    longest = std::max(longest, sequence.kv);
  }
  SweepCase padded = c;
  padded.ragged = 0;
  padded.q_len = padded.kv_len = longest;
  rows.push_back({"varlen",
                  "8 sequences of random multiples of 64 up to 2k, 16/16 heads D 64, no pages",
                  c,
                  {percent(78), {LineKind::kShare, 5.0, {}}},
                  padded});
}

void add_paged(KvLayout layout, std::vector<LineRow>& rows) {
  const auto add = [&](const char* name, const char* work, SweepCase c, SweepCase contiguous) {
    c.page_size = 64;
    rows.push_back({name, work, c, {{LineKind::kRatio, 3.0, {}}}, contiguous});
  };
  SweepCase c = decode(layout, {32, 8}, 16384);
  SweepCase one_page = c;
  one_page.page_size = c.kv_len;
  add("paged-decode", "decode group 4, 16k keys: pages of 64 against one page", c, one_page);
  c.layout = KvLayout::kNHD;
  SweepCase packed = c;
  packed.layout = KvLayout::kPacked;
  packed.page_size = 0;
  add("paged-decode-nhd", "the same row-major: NHD pages of 64 against varlen", c, packed);
  c = prefill(layout, {32, 8}, 128, 2048, true);
  one_page = c;
  one_page.page_size = c.kv_len;
  add("paged-prefill", "prefill D 128, 2k causal: pages of 64 against one page", c, one_page);
}

void add_f16(KvLayout layout, std::vector<LineRow>& rows) {
  for (const Group& group : kGroups) {
    if (group.f16_points == 0.0) continue;
    SweepCase c = decode(layout, heads_of(group.group), 16384);
    c.dtype = DType::kF16;
    rows.push_back({fmt::format("f16-g{}", group.group),
                    fmt::format("f16: decode group {}, 16k keys", group.group),
                    c,
                    {near(group.f16_points, {group_row(group.group)})},
                    {}});
  }
}

bool selects(const std::string& name, const std::string& row) {
  return row == name || row.starts_with(name + "-");
}

}  // namespace

std::vector<LineRow> line_rows(KvLayout layout) {
  std::vector<LineRow> rows;
  add_decode_grid(layout, rows);
  add_groups(layout, rows);
  add_other_decode(layout, rows);
  add_prefill(layout, rows);
  add_avx2(layout, rows);
  add_varlen(rows);
  add_paged(layout, rows);
  add_f16(layout, rows);  // last, because another dtype means filling the memory anew
  return rows;
}

size_t rows_together(std::span<const LineRow> rows) {
  const auto is_rate = [](const LineRow& row) { return row.lines.front().kind == LineKind::kRate; };
  const LineRow& first = rows.front();
  size_t count = 1;
  if (!is_rate(first)) return count;
  while (count < rows.size() && is_rate(rows[count]) && rows[count].beside == first.beside) ++count;
  return count;
}

std::vector<LineRow> select_lines(const std::vector<LineRow>& rows,
                                  const std::vector<std::string>& names) {
  if (names.empty()) return rows;
  std::set<std::string> wanted;
  for (const std::string& name : names) {
    bool found = false;
    for (const LineRow& row : rows) {
      if (!selects(name, row.name)) continue;
      found = true;
      wanted.insert(row.name);
    }
    if (!found) throw BadInput(fmt::format("--only: no row is '{}'; see --list", name));
  }
  for (size_t before = 0; before != wanted.size();) {
    before = wanted.size();
    for (const LineRow& row : rows) {
      if (!wanted.contains(row.name)) continue;
      for (const Line& line : row.lines) wanted.insert(line.of.begin(), line.of.end());
    }
  }
  std::vector<LineRow> selected;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(selected),
               [&](const LineRow& row) { return wanted.contains(row.name); });
  return selected;
}

}  // namespace attnrt::perf
