// SPDX-License-Identifier: Apache-2.0
// The backends of this build, best first: the CPU's, because contexts that name none begin with it.
#include "backends/cpu/cpu_backend.hpp"
#include "backends/cuda_plugin.hpp"
#include "backends/reference/reference_backend.hpp"
#include "src/backend.hpp"

namespace attnrt {

std::span<const Backend* const> all_backends() noexcept {
  static const Backend* const list[] = {&cpu::cpu_backend(), &cuda_plugin(),
                                        &reference::reference_backend()};
  return list;
}

}  // namespace attnrt
