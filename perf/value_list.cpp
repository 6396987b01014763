// SPDX-License-Identifier: Apache-2.0
// Lists and ranges as they are typed on the command line.
#include "perf/value_list.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "perf/cli.hpp"
#include "perf/parse.hpp"

namespace attnrt::perf {
namespace {

// More rows than anybody waits for; a step mistyped as +1 is caught before memory runs out.
constexpr size_t kMaxValues = 4096;

[[noreturn]] void bad(std::string_view option, std::string_view item, std::string_view why) {
  throw BadInput(fmt::format("{}: '{}' {}", option, item, why));
}

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t step = 1;
  bool multiply = false;
};

Range parse_range(std::string_view option, std::string_view item) {
  const size_t colon = item.find(':');
  if (colon == std::string_view::npos) {
    const int64_t value = parse_count(option, item);
    return {value, value, 1, false};
  }
  const size_t sign = item.find_first_of("*+", colon);
  if (sign == std::string_view::npos) {
    bad(option, item, "needs a step: begin:end*factor or begin:end+step");
  }
  Range range;
  range.begin = parse_count(option, item.substr(0, colon));
  range.end = parse_count(option, item.substr(colon + 1, sign - colon - 1));
  range.step = parse_count(option, item.substr(sign + 1));
  range.multiply = item[sign] == '*';
  if (range.begin > range.end) bad(option, item, "begins after its end");
  if (range.multiply && (range.begin < 1 || range.step < 2)) {
    bad(option, item, "needs a begin of at least 1 and a factor of at least 2");
  }
  if (range.step < 1) bad(option, item, "needs a step of at least 1");
  return range;
}

void append_item(std::string_view option, std::string_view item, const ValueRules& rules,
                 std::vector<int64_t>& values) {
  const Range range = parse_range(option, item);
  if (range.begin < rules.min || range.end > rules.max) {
    bad(option, item, fmt::format("is outside {}..{}", rules.min, rules.max));
  }
  for (int64_t value = range.begin; value <= range.end;) {
    if (values.size() == kMaxValues) {
      bad(option, item, fmt::format("makes more than {} values", kMaxValues));
    }
    values.push_back(value);
    const bool overflow = range.multiply ? __builtin_mul_overflow(value, range.step, &value)
                                         : __builtin_add_overflow(value, range.step, &value);
    if (overflow) return;
  }
}

}  // namespace

std::vector<std::string_view> split_list(std::string_view option, std::string_view text) {
  std::vector<std::string_view> items;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    if (comma == begin) bad(option, text, "has an empty item");
    items.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return items;
}

std::vector<int64_t> parse_value_list(std::string_view option, std::string_view text,
                                      const ValueRules& rules) {
  std::vector<int64_t> values;
  for (const std::string_view item : split_list(option, text)) {
    if (!rules.word.empty() && item == rules.word) {
      values.push_back(rules.word_value);
    } else {
      append_item(option, item, rules, values);
    }
  }
  return values;
}

}  // namespace attnrt::perf
