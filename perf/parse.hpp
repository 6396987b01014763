// SPDX-License-Identifier: Apache-2.0
// Words of the command line to values. All throw BadInput naming the option and the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "attnrt/kv_cache.hpp"

namespace attnrt::perf {

struct Heads {
  int32_t q = 0;
  int32_t kv = 0;

  bool operator==(const Heads&) const = default;
};

/// "32/8": query heads and KV heads. The second must divide the first; both are 1 .. 65536.
Heads parse_heads(std::string_view option, std::string_view text);

/// "f32", "bf16", "f16".
DType parse_dtype(std::string_view option, std::string_view text);

/// "nhd", "hnd", "packed".
KvLayout parse_layout(std::string_view option, std::string_view text);

/// A number with an optional binary suffix: "4096", "4k", "1M". Not negative.
int64_t parse_count(std::string_view option, std::string_view text);

/// All of `text` as a number; false if anything else is in it.
bool parse_number(std::string_view text, int64_t& value);

}  // namespace attnrt::perf
