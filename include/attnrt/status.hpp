// SPDX-License-Identifier: Apache-2.0
// How every call of the library reports failure. Nothing throws, prints or aborts across the API.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

namespace attnrt {

enum class Code : int32_t {
  kOk = 0,
  kInvalidArgument,  // the message names the argument, its index and its value
  kUnsupported,      // legal, but no backend that is here can do it
  kOutOfMemory,      // memory for a plan or a workspace could not be had, or is too small
  kCancelled,        // the caller's stop token asked for it; outputs are unspecified
  kUnavailable,      // a backend or ISA that was asked for is not on this machine
  kInternal,         // a defect of this library
};

/// The name of a code as it is written in source, without the k: "InvalidArgument".
const char* to_string(Code code) noexcept;

/// Success, or a code with a message meant for the person who wrote the call.
class [[nodiscard]] Status {
 public:
  Status() noexcept = default;
  Status(Code code, std::string message) noexcept : code_(code), message_(std::move(message)) {}

  [[nodiscard]] bool ok() const noexcept { return code_ == Code::kOk; }
  [[nodiscard]] Code code() const noexcept { return code_; }

  /// Empty on success.
  [[nodiscard]] const std::string& message() const noexcept { return message_; }

 private:
  Code code_ = Code::kOk;
  std::string message_;
};

}  // namespace attnrt
