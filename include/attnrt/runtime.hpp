// SPDX-License-Identifier: Apache-2.0
// What this build has and this machine can run, and why not where it cannot.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "attnrt/status.hpp"

namespace attnrt {

/// Version of the headers, to be compared with Runtime::version() of the library.
inline constexpr int kVersionMajor = 0;
inline constexpr int kVersionMinor = 1;
inline constexpr int kVersionPatch = 0;

/// A backend or an ISA that this build knows.
struct Capability {
  std::string name;  // "cpu", "avx512"
  bool available = false;
  std::string reason;  // why, or why not: "avx512f missing"
};

/// Facts about the process; all calls are thread-safe.
class Runtime {
 public:
  /// "0.1.0".
  static std::string_view version() noexcept;

  /// Backends compiled in or found, best first.
  static std::vector<Capability> backends();

  /// Kernel tables of the CPU backend, best first.
  static std::vector<Capability> isas();

  /// The table that contexts use by default and the reason for it, or why there is none: an
  /// ATTNRT_ISA that is unknown or not supported here is an error.
  static Status default_isa(std::string& name, std::string& reason);

  /// Threads of the arena that the calling thread is in.
  static int32_t num_threads() noexcept;

  /// All of the above in a few lines, for logs.
  static std::string to_string();
};

}  // namespace attnrt
