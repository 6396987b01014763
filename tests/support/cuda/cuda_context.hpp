// SPDX-License-Identifier: Apache-2.0
// A context on the CUDA backend, where there must be one.
#pragma once

#include <cuda_runtime_api.h>
#include <doctest/doctest.h>

#include "attnrt/attnrt.hpp"

namespace attnrt::test {

inline Context cuda_context(cudaStream_t stream = nullptr) {
  ContextOptions options;
  options.backend = "cuda";
  options.stream = stream;
  Context context;
  REQUIRE(Context::create(options, context).message() == "");
  return context;
}

}  // namespace attnrt::test
