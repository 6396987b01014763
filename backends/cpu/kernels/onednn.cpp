// SPDX-License-Identifier: Apache-2.0
// oneDNN's matmuls with the softmax of AVX-512, for every number of rows: one row takes as long as
// 48, so this is for prefill on CPUs whose matrix units oneDNN knows better. Built with the flags
// of avx512_bf16.cpp; exports one symbol.
#include "backends/cpu/cpu_features.hpp"
#include "backends/cpu/kernels/avx512_inl.hpp"
#include "backends/cpu/kernels/panel_products_inl.hpp"
#include "backends/cpu/onednn_panels.hpp"

namespace attnrt::cpu {
namespace {

struct Avx512Panels : Avx512ToBf16 {};

template <>
inline int32_t tile_height<Avx512Panels>(int32_t left) {
  return left < kPanelRows ? left : kPanelRows;
}

template <>
class MatrixProducts<PanelF32> : public PanelMatrix<Avx512Panels, PanelF32> {
  using PanelMatrix::PanelMatrix;
};
template <>
class MatrixProducts<PanelBf16> : public PanelMatrix<Avx512Panels, PanelBf16> {
  using PanelMatrix::PanelMatrix;
};

template <class Kv>
void attend_panels(const AttendTask& task) {
  if (task.tokens > 0) AttendRun<Avx512Panels, PanelF32, Kv>(task).run();
}

}  // namespace

constinit const KernelTable kOneDnnKernels = {
    .name = "onednn",
    .needs = kFeatureAvx512f | kFeatureAvx512bw | kFeatureAvx512cd | kFeatureAvx512dq |
             kFeatureAvx512vl | kFeatureAvx512Bf16,
    .wants = kFeatureFastOneDnn,
    .tile_rows = kPanelRows,
    .attend = {attend_panels<F32>, attend_panels<Bf16>, attend_panels<F16>},
    .attend_bf16_dot = attend_bf16_dot<Avx512Panels, PanelBf16>,
    .bf16_dot_name = "oneDNN bf16",
    .make_panels = make_onednn_panels,
};

}  // namespace attnrt::cpu
