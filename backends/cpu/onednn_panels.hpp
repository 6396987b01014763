// SPDX-License-Identifier: Apache-2.0
// The only door to oneDNN: products of panels by its matmul primitive. Built where CMake found it.
#pragma once

namespace attnrt::cpu {

class PanelSource;

/// The caller owns it. Throws std::bad_alloc.
PanelSource* make_onednn_panels();

}  // namespace attnrt::cpu
