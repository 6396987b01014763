// SPDX-License-Identifier: Apache-2.0
// Lists and ranges as they are typed on the command line: "1,2,4", "4k:128k*2", "512:2048+512".
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace attnrt::perf {

/// What an option takes besides the syntax.
struct ValueRules {
  int64_t min = 1;
  int64_t max = INT32_MAX;
  std::string_view word = {};  // a name that stands for word_value, such as "kv"; empty: none
  int64_t word_value = 0;
};

/// Comma separated items: a number, begin:end*factor or begin:end+step (both ends included, the end
/// only where a step lands on it). Throws BadInput naming the option and the item.
std::vector<int64_t> parse_value_list(std::string_view option, std::string_view text,
                                      const ValueRules& rules = {});

/// The items between commas. Throws BadInput where one is empty.
std::vector<std::string_view> split_list(std::string_view option, std::string_view text);

}  // namespace attnrt::perf
