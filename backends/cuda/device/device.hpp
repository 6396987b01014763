// SPDX-License-Identifier: Apache-2.0
// Everything that kernels ask of a GPU, one function for each thing, so that their source also runs
// on a CPU: ptx.hpp where nvcc compiles, host_twin.hpp (threads of a block as fibers, in the tests)
// where another compiler does. Both have the same functions:
//
//   thread_index, lane_index, block_x, block_y    who is asking
//   sync_block, sync_warp, sync_block_or          barriers; all threads of a block (warp) must come
//   shuffle_xor, shuffle                          32 bits from another lane of the warp
//   load_matrix[_transposed]                      ldmatrix.x4: four 8x8 matrices of 16-bit elements
//   mma<T>                                        m16n8k16, f32 sums; fragments as PTX lays them
//   copy_async, .._commit, .._wait<N>             cp.async of 16 bytes, of which the first `bytes`
//                                                 are read and the others become 0
//   load, store, shared_load, shared_store        memory; shared memory by byte address
//   exp2_fast, rcp_fast, natural_log, fma, ..     arithmetic
//   exponential, sine, error_function, ..         functions of expressions, within a few ulp
//   pack<T>, unpack_low<T>, unpack_high<T>        two 16-bit elements in 32 bits
//
// Kernels touch memory through these functions only: what goes around them is not checked.
#pragma once

#include <cstdint>

namespace attnrt::cuda {

/// Element types as tags. They are stored as their 16 bits.
struct Half {};
struct BFloat16 {};

/// 16 bytes that are read or written together.
struct alignas(16) Quad {
  uint32_t x, y, z, w;
};

}  // namespace attnrt::cuda

#if defined(__CUDACC__)
#include "backends/cuda/device/ptx.hpp"
#else
#include "backends/cuda/device/host_twin.hpp"
#endif
