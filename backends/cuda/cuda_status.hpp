// SPDX-License-Identifier: Apache-2.0
// Errors of the CUDA runtime as a Status.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "attnrt/status.hpp"

namespace attnrt::cuda {

/// "what: the runtime's words". Takes the error back from the runtime, which would show it to
/// whoever asks for the last one next.
inline Status failed(const char* what, cudaError_t error) {
  static_cast<void>(cudaGetLastError());
  const Code code = error == cudaErrorMemoryAllocation ? Code::kOutOfMemory : Code::kInternal;
  return {code, std::string(what) + ": " + cudaGetErrorString(error)};
}

}  // namespace attnrt::cuda
