// SPDX-License-Identifier: Apache-2.0
// The CPU backend: plan items on oneTBB, kernels of the best ISA.
#pragma once

#include "src/backend.hpp"

namespace attnrt::cpu {

const Backend& cpu_backend() noexcept;

}  // namespace attnrt::cpu
