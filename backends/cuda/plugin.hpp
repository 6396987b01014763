// SPDX-License-Identifier: Apache-2.0
// How the library finds a backend in a shared object: one C function, asked with what the library
// was compiled with. Both sides must come from the same sources, compiler and standard library;
// what of that can be seen is compared.
#pragma once

#include <cstdint>
#include <cstring>

#include "attnrt/runtime.hpp"
#include "src/backend.hpp"
#include "src/plan_data.hpp"

namespace attnrt {

/// Facts that both sides must agree on.
struct BackendAbi {
  int32_t version[3] = {kVersionMajor, kVersionMinor, kVersionPatch};
  uint32_t sizes[6] = {sizeof(PlanData),  sizeof(AttendArgs),     sizeof(AppendArgs),
                       sizeof(MergeTask), sizeof(ContextOptions), sizeof(Status)};
  char compiler[64] = {};

  BackendAbi() noexcept { std::strncpy(compiler, __VERSION__, sizeof compiler - 1); }

  [[nodiscard]] bool same(const BackendAbi& other) const noexcept {
    return std::memcmp(version, other.version, sizeof version) == 0 &&
           std::memcmp(sizes, other.sizes, sizeof sizes) == 0 &&
           std::strncmp(compiler, other.compiler, sizeof compiler) == 0;
  }
};

/// The function's name and type. Null where `abi` is not its own.
inline constexpr char kCudaPluginFunction[] = "attnrt_cuda_backend";
using CudaPluginFunction = const Backend* (*)(const BackendAbi* abi);

}  // namespace attnrt
