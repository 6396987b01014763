// SPDX-License-Identifier: Apache-2.0
// Parses words of the command line with std::from_chars, so that no locale changes the meaning.
#include "perf/parse.hpp"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <system_error>

#include "perf/cli.hpp"

namespace attnrt::perf {
namespace {

// Larger than any model by two orders; keeps every product of a shape within int64.
constexpr int64_t kMaxHeads = 65536;

int64_t suffix_factor(char suffix) {
  switch (suffix) {
    case 'k':
    case 'K':
      return int64_t{1} << 10;
    case 'm':
    case 'M':
      return int64_t{1} << 20;
    case 'g':
    case 'G':
      return int64_t{1} << 30;
    default:
      return 1;
  }
}

}  // namespace

bool parse_number(std::string_view text, int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

Heads parse_heads(std::string_view option, std::string_view text) {
  const size_t slash = text.find('/');
  int64_t q = 0;
  int64_t kv = 0;
  if (slash == std::string_view::npos || !parse_number(text.substr(0, slash), q) ||
      !parse_number(text.substr(slash + 1), kv)) {
    throw BadInput(
        fmt::format("{} is '{}'; expected query heads and KV heads as in 32/8", option, text));
  }
  if (q < 1 || kv < 1 || q > kMaxHeads || kv > kMaxHeads) {
    throw BadInput(fmt::format("{} is '{}'; both must be 1 to {}", option, text, kMaxHeads));
  }
  if (q % kv != 0) {
    throw BadInput(fmt::format("{} is '{}': {} query heads are no multiple of {} KV heads", option,
                               text, q, kv));
  }
  return {static_cast<int32_t>(q), static_cast<int32_t>(kv)};
}

DType parse_dtype(std::string_view option, std::string_view text) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (text == to_string(dtype)) return dtype;
  }
  throw BadInput(fmt::format("{} is '{}'; known: f32, bf16, f16", option, text));
}

KvLayout parse_layout(std::string_view option, std::string_view text) {
  for (const KvLayout layout :
       {KvLayout::kPacked, KvLayout::kNHD, KvLayout::kHND, KvLayout::kPacked16}) {
    if (text == to_string(layout)) return layout;
  }
  throw BadInput(fmt::format("{} is '{}'; known: nhd, hnd, packed16", option, text));
}

int64_t parse_count(std::string_view option, std::string_view text) {
  const int64_t factor = text.empty() ? 1 : suffix_factor(text.back());
  int64_t number = 0;
  if (!parse_number(factor == 1 ? text : text.substr(0, text.size() - 1), number)) {
    throw BadInput(fmt::format("{} is '{}'; expected a number such as 4096 or 4k", option, text));
  }
  if (number < 0) throw BadInput(fmt::format("{} is '{}'; it cannot be negative", option, text));
  if (number > std::numeric_limits<int64_t>::max() / factor) {
    throw BadInput(fmt::format("{} is '{}'; too large", option, text));
  }
  return number * factor;
}

}  // namespace attnrt::perf
