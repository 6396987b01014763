// SPDX-License-Identifier: Apache-2.0
// AMX for bf16 q with a bf16 cache, whatever the number of rows: even one row leaves the tiles
// faster than memory (8 products of 16 cycles for 8 KiB of K and V at D = 128), and one arithmetic
// for all of them keeps chunks and whole prompts equal. Built with -mamx-* and -mavx512*; exports
// one symbol.
#include "backends/cpu/cpu_features.hpp"
#include "backends/cpu/kernels/amx_products_inl.hpp"
#include "backends/cpu/kernels/avx512_inl.hpp"

namespace attnrt::cpu {
namespace {

struct Avx512Amx : Avx512ToBf16 {};

template <>
inline int32_t tile_height<Avx512Amx>(int32_t left) {
  return left < kAmxTallest ? left : kAmxTallest;
}

}  // namespace

constinit const KernelTable kAmxKernels = {
    .name = "amx",
    .needs = kFeatureAvx512f | kFeatureAvx512bw | kFeatureAvx512cd | kFeatureAvx512dq |
             kFeatureAvx512vl | kFeatureAvx512Bf16 | kFeatureAmxTile | kFeatureAmxBf16,
    .tile_rows = kAmxTallest,
    .attend_bf16_dot = attend_bf16_dot<Avx512Amx, AmxDot>,
    .bf16_dot_name = "AMX bf16",
};

}  // namespace attnrt::cpu
