// SPDX-License-Identifier: Apache-2.0
// What this build has and this machine can run, and why not where it cannot.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "attnrt/status.hpp"
#include "attnrt/tensor.hpp"

namespace attnrt {

class Plan;

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

/// What the items of one class run on the CPU, and why. Which kernel that is depends on the kind of
/// layer, the dtypes and the machine alone: not on the batch, the lengths or the layout of the
/// cache.
struct KernelChoice {
  std::string items;  // "decode" (1 query token), "few tokens" (2 to 16), "prefill"
  int64_t num_items = 0;
  int32_t min_rows = 0;  // query tokens x group: rows that share each key and value
  int32_t max_rows = 0;
  DType dtype = DType::kBF16;  // of q and the cache
  std::string isa;             // the table that the kernel is from: "avx512"
  std::string products;        // what it multiplies with: "f32 FMA", "bf16 dot"
  int32_t tile_rows = 0;       // rows that are multiplied with a line of keys once it is loaded
  std::string reason;
};

/// Facts about the process; all calls are thread-safe. Lists and texts are empty where there is no
/// memory for them.
class Runtime {
 public:
  /// "0.1.0".
  static std::string_view version() noexcept;

  /// Backends compiled in or found, best first.
  static std::vector<Capability> backends() noexcept;

  /// Kernel tables of the CPU backend, best first.
  static std::vector<Capability> isas() noexcept;

  /// The table that contexts use by default and the reason for it, or why there is none: an
  /// ATTNRT_ISA that is unknown or not supported here is an error.
  static Status default_isa(std::string& name, std::string& reason);

  /// Threads of the arena that the calling thread is in.
  static int32_t num_threads() noexcept;

  /// All of the above in a few lines, for logs.
  static std::string to_string() noexcept;

  /// The kernels that `attend` on the CPU runs for a plan: an entry for each class of its items and
  /// each dtype. `isa` as in ContextOptions. Errors: InvalidArgument where the plan has not been
  /// made or the name is unknown, Unavailable for what this machine lacks, OutOfMemory; `choices`
  /// is then left alone.
  static Status kernel_choices(const Plan& plan, std::vector<KernelChoice>& choices,
                               std::string_view isa = {});

  /// The same in a few lines, for logs; an error's message where there is one.
  static std::string explain(const Plan& plan, std::string_view isa = {}) noexcept;
};

}  // namespace attnrt
