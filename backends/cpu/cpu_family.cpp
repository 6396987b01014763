// SPDX-License-Identifier: Apache-2.0
// The figures. `attnrt-perf tune` prints those of the machine it runs on, beside these.
#include "backends/cpu/cpu_family.hpp"

#include <string_view>

namespace attnrt::cpu {
namespace {

constexpr uint32_t kAnyModel = 0xff;

constexpr CpuFamily kFamilies[] = {
    {"AuthenticAMD", 0x1a, 0, kAnyModel, "AMD Zen 5", 2.0, 0.17,
     "573 against 287 GFLOP/s a core, measured on an EPYC of family 1ah"},
    {"AuthenticAMD", 0x19, 0, kAnyModel, "AMD Zen 4", 2.0, 0.0,
     "twice by published instruction tables, not measured"},
    {"GenuineIntel", 6, 0xcf, 0xcf, "Intel Emerald Rapids", 0.5, 0.0,
     "one VDPBF16PS in 2 cycles, one f32 FMA in half a cycle, measured"},
    {"GenuineIntel", 6, 0x8f, 0x8f, "Intel Sapphire Rapids", 0.5, 0.0,
     "the cores of Emerald Rapids, not measured"},
};

constexpr CpuFamily kUnknown = {"", 0, 0, 0, "", 0.0, 0.0, "nothing is known of this CPU family"};

}  // namespace

const CpuFamily& find_family(const CpuIdentity& cpu) noexcept {
  for (const CpuFamily& family : kFamilies) {
    if (std::string_view(cpu.vendor) == family.vendor && cpu.family == family.family &&
        cpu.model >= family.first_model && cpu.model <= family.last_model) {
      return family;
    }
  }
  return kUnknown;
}

}  // namespace attnrt::cpu
