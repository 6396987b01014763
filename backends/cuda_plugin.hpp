// SPDX-License-Identifier: Apache-2.0
// The CUDA backend as the library sees it: in a shared object that is found at run time, so that
// one build of an application runs with and without a GPU.
#pragma once

#include "src/backend.hpp"

namespace attnrt {

/// The backend of libattnrt_cuda.so, or one that is not available and says why. Looked for once:
/// where ATTNRT_CUDA_LIBRARY says (a path), else beside the program or library that this code is
/// in, else where the system looks for shared objects.
const Backend& cuda_plugin() noexcept;

}  // namespace attnrt
