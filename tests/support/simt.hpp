// SPDX-License-Identifier: Apache-2.0
// A GPU's blocks on a CPU, to run the source of kernels: each thread of a block is a fiber, fibers
// meet at barriers and at warp collectives (mma, ldmatrix, shuffles), which work on the fragments
// of all 32 lanes in the layouts of the PTX manual. What a GPU would let pass is reported:
//
//  * global reads and writes outside the buffers that were named, unaligned ones too;
//  * shared reads and writes out of bounds, unaligned, of bytes that nobody wrote, of bytes that
//    another thread wrote with no barrier in between, of bytes that cp.async has not brought yet,
//    and writes over what another warp may still have to read;
//  * barriers and collectives that not all threads reach.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "tests/support/simt_memory.hpp"

namespace attnrt::test {

struct SimtLaunch {
  uint32_t blocks_x = 1;
  uint32_t blocks_y = 1;
  uint32_t threads = 32;  // of a block; a multiple of 32
  uint32_t shared_bytes = 0;
  bool reversed = false;  // warps take turns from the last to the first
};

/// Runs `kernel` for every thread of every block, one block after the other. Returns an empty
/// string, or what is wrong and where; the launch ends there.
std::string simt_run(const SimtLaunch& launch, const SimtMemory& memory,
                     const std::function<void()>& kernel);

/// What the last launch did, summed over warps (mma, ldmatrix) and threads (the others).
struct SimtCounts {
  int64_t mma = 0;
  int64_t load_matrix = 0;
  int64_t barriers = 0;      // of blocks
  int64_t copied_bytes = 0;  // read from global memory by cp.async
};
SimtCounts simt_counts();

}  // namespace attnrt::test
