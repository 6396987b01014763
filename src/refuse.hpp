// SPDX-License-Identifier: Apache-2.0
// Builds the message of a refused argument. Costs nothing until something is refused.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "attnrt/status.hpp"

namespace attnrt {

/// The name of an argument as its caller wrote it: "q", "states[2].out".
struct ArgName {
  std::string_view text;
  int64_t index = -1;  // -1: not an element of a list
  std::string_view tail = {};
};

inline void append_part(std::string& message, std::string_view part) { message += part; }

template <std::integral T>
void append_part(std::string& message, T value) {
  message += std::to_string(value);
}

inline void append_part(std::string& message, float value) {
  char digits[32];
  const std::to_chars_result end = std::to_chars(digits, digits + sizeof digits, value);
  message.append(digits, end.ptr);
}

inline void append_part(std::string& message, const ArgName& name) {
  message += name.text;
  if (name.index >= 0) {
    message += '[';
    message += std::to_string(name.index);
    message += ']';
  }
  message += name.tail;
}

template <class... Parts>
Status refuse(const Parts&... parts) {
  std::string message;
  (append_part(message, parts), ...);
  return Status(Code::kInvalidArgument, std::move(message));
}

}  // namespace attnrt
