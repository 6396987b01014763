// SPDX-License-Identifier: Apache-2.0
// Whether this machine runs the CUDA backend, which changes what commands refuse.
#pragma once

#include <algorithm>
#include <vector>

#include "attnrt/runtime.hpp"

namespace attnrt::perf {

inline bool cuda_is_here() {
  const std::vector<Capability> backends = Runtime::backends();
  return std::ranges::any_of(backends,
                             [](const Capability& c) { return c.name == "cuda" && c.available; });
}

}  // namespace attnrt::perf
