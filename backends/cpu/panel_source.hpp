// SPDX-License-Identifier: Apache-2.0
// Who supplies the products of panels.hpp: a library's code and memory, kept by a context.
#pragma once

#include <cstdint>

#include "attnrt/status.hpp"
#include "attnrt/tensor.hpp"
#include "backends/cpu/panels.hpp"

namespace attnrt::cpu {

/// Head dims are multiples of 16.
struct PanelShape {
  DType dtype = DType::kF32;  // of q, K, V and p: f32 or bf16
  int32_t dim = 0, dim_v = 0;

  bool operator==(const PanelShape&) const = default;
};

/// One per context, for one call at a time.
class PanelSource {
 public:
  virtual ~PanelSource() = default;

  /// What of_worker(0 .. workers - 1) then gives is of this shape. Cheap for a shape that was there
  /// before. Errors: Unsupported, OutOfMemory, Internal.
  virtual Status prepare(const PanelShape& shape, int32_t workers) = 0;

  /// To be used by one thread at a time.
  virtual PanelProducts* of_worker(int32_t worker) noexcept = 0;

  /// Internal where a product since prepare() failed: what came of it is garbage.
  virtual Status result() const = 0;
};

}  // namespace attnrt::cpu
