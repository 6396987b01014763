// SPDX-License-Identifier: Apache-2.0
// Attention kernels for head dims that are padded to 256.
#include "backends/cuda/attend_launch.cuh"

ATTNRT_DEFINE_ATTEND(256)
