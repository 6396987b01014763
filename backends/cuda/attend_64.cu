// SPDX-License-Identifier: Apache-2.0
// Attention kernels for head dims that are padded to 64.
#include "backends/cuda/attend_launch.cuh"

ATTNRT_DEFINE_ATTEND(64)
