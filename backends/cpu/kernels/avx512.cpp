// SPDX-License-Identifier: Apache-2.0
// AVX-512 F, BW, CD, DQ, VL. Built with those -m flags; exports one symbol.
#include "backends/cpu/cpu_features.hpp"
#include "backends/cpu/kernels/avx512_inl.hpp"
#include "backends/cpu/kernels/generic/packed16_inl.hpp"
#include "backends/cpu/kernels/generic/store_inl.hpp"

namespace attnrt::cpu {

constinit const KernelTable kAvx512Kernels = {
    .name = "avx512",
    .needs =
        kFeatureAvx512f | kFeatureAvx512bw | kFeatureAvx512cd | kFeatureAvx512dq | kFeatureAvx512vl,
    .wants = 0,
    .tile_rows = Avx512::kShortRows,
    .attend = {attend<Avx512, F32, F32Lines>, attend<Avx512, Bf16, Bf16Lines>,
               attend<Avx512, F16, F16Lines>},
    .attend_bf16_dot = nullptr,
    .bf16_dot_name = nullptr,
    .merge = merge_rows<Avx512>,
    .store = store_heads<Avx512>,
    .merge_states = merge_states<Avx512>,
    .pack_group = pack_group,
    .unpack_group = unpack_group,
};

}  // namespace attnrt::cpu
