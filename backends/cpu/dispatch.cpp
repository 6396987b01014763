// SPDX-License-Identifier: Apache-2.0
// The list of kernel tables, and the choice among them.
#include "backends/cpu/dispatch.hpp"

#include <array>
#include <cstdlib>

#include "backends/cpu/cpu_features.hpp"

namespace attnrt::cpu {
namespace {

#if defined(__x86_64__) && defined(ATTNRT_ONEDNN)
constexpr std::array<const KernelTable*, 6> kTables = {&kOneDnnKernels,     &kAmxKernels,
                                                       &kAvx512Bf16Kernels, &kAvx512Kernels,
                                                       &kAvx2Kernels,       &kBaselineKernels};
#elif defined(__x86_64__)
constexpr std::array<const KernelTable*, 5> kTables = {
    &kAmxKernels, &kAvx512Bf16Kernels, &kAvx512Kernels, &kAvx2Kernels, &kBaselineKernels};
#elif defined(__aarch64__)
constexpr std::array<const KernelTable*, 2> kTables = {&kNeonKernels, &kBaselineKernels};
#else
constexpr std::array<const KernelTable*, 1> kTables = {&kBaselineKernels};
#endif

void overlay(const KernelTable& better, KernelTable& table) {
  table.name = better.name;
  table.needs |= better.needs;
  if (better.tile_rows != 0) table.tile_rows = better.tile_rows;
  for (int i = 0; i < kDTypeCount; ++i) {
    if (better.attend[i] != nullptr) table.attend[i] = better.attend[i];
  }
  if (better.attend_bf16_dot != nullptr) {
    table.attend_bf16_dot = better.attend_bf16_dot;
    table.bf16_dot_name = better.bf16_dot_name;
  }
  if (better.merge != nullptr) table.merge = better.merge;
  if (better.store != nullptr) table.store = better.store;
  if (better.merge_states != nullptr) table.merge_states = better.merge_states;
  if (better.pack_group != nullptr) table.pack_group = better.pack_group;
  if (better.unpack_group != nullptr) table.unpack_group = better.unpack_group;
  if (better.make_panels != nullptr) table.make_panels = better.make_panels;
}

// Entry i is what runs when kTables[i] is asked for: it and every worse one that this CPU has.
std::array<KernelTable, kTables.size()> overlay_all() {
  std::array<KernelTable, kTables.size()> result{};
  KernelTable table{};
  for (size_t i = kTables.size(); i-- > 0;) {
    if (can_run(*kTables[i])) overlay(*kTables[i], table);
    result[i] = table;
  }
  return result;
}

// Read once, so that all contexts of a process agree.
const std::string& requested_isa() {
  static const std::string isa = [] {
    const char* value = std::getenv("ATTNRT_ISA");
    return std::string(value == nullptr ? "" : value);
  }();
  return isa;
}

std::string known_names() {
  std::string names;
  for (const KernelTable* table : kTables) {
    if (!names.empty()) names += ", ";
    names += table->name;
  }
  return names;
}

Status find_table(std::string_view isa, std::string_view source, size_t& index) {
  for (size_t i = 0; i < kTables.size(); ++i) {
    if (isa != kTables[i]->name) continue;
    index = i;
    if (can_run(*kTables[i])) return {};
    return {Code::kUnavailable, std::string(source) + " is \"" + std::string(isa) +
                                    "\", which this CPU cannot run: " +
                                    missing_features(kTables[i]->needs, cpu_features()) +
                                    " (known: " + known_names() + ")"};
  }
  return {Code::kInvalidArgument,
          std::string(source) + " is \"" + std::string(isa) + "\", known are " + known_names()};
}

Status find_default(size_t& index) {
  const std::string& requested = requested_isa();
  if (!requested.empty()) return find_table(requested, "ATTNRT_ISA", index);
  for (index = 0; index < kTables.size(); ++index) {
    const KernelTable& table = *kTables[index];
    if (can_run(table) && (table.wants & ~cpu_features()) == 0) return {};
  }
  return {Code::kUnavailable, "no kernel table runs on this CPU"};
}

}  // namespace

std::span<const KernelTable* const> all_kernel_tables() noexcept { return kTables; }

bool can_run(const KernelTable& table) noexcept { return (table.needs & ~cpu_features()) == 0; }

bool uses_bf16_dot(const KernelTable& table, Arithmetic arithmetic, DType q_dtype, DType kv_dtype,
                   bool rotates_q) noexcept {
  return q_dtype == DType::kBF16 && kv_dtype == DType::kBF16 && !rotates_q &&
         arithmetic == Arithmetic::kFastest && table.attend_bf16_dot != nullptr;
}

Status resolve_table(std::string_view isa, const KernelTable*& table) {
  static const std::array<KernelTable, kTables.size()> overlaid = overlay_all();
  size_t index = 0;
  Status status = isa.empty() ? find_default(index) : find_table(isa, "isa", index);
  if (status.ok()) table = &overlaid[index];
  return status;
}

std::vector<Capability> isa_capabilities() {
  std::vector<Capability> list;
  for (const KernelTable* table : kTables) {
    const std::string missing = missing_features(table->needs, cpu_features());
    list.push_back({table->name, missing.empty(), missing.empty() ? "supported" : missing});
  }
  return list;
}

Status default_isa(std::string& name, std::string& reason) {
  size_t index = 0;
  Status status = find_default(index);
  if (!status.ok()) return status;
  name = kTables[index]->name;
  reason = requested_isa().empty() ? "best of this CPU" : "ATTNRT_ISA";
  return status;
}

}  // namespace attnrt::cpu
