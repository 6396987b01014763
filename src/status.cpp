// SPDX-License-Identifier: Apache-2.0
// Names of status codes.
#include "attnrt/status.hpp"

namespace attnrt {

const char* to_string(Code code) noexcept {
  switch (code) {
    case Code::kOk:
      return "Ok";
    case Code::kInvalidArgument:
      return "InvalidArgument";
    case Code::kUnsupported:
      return "Unsupported";
    case Code::kOutOfMemory:
      return "OutOfMemory";
    case Code::kCancelled:
      return "Cancelled";
    case Code::kUnavailable:
      return "Unavailable";
    case Code::kInternal:
      return "Internal";
  }
  return "unknown";
}

}  // namespace attnrt
