// SPDX-License-Identifier: Apache-2.0
// Which kernels run: all tables of this build, the ones this CPU can run, and the chosen one.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attnrt/runtime.hpp"
#include "attnrt/status.hpp"
#include "backends/cpu/kernels/kernel_table.hpp"

namespace attnrt::cpu {

/// Tables as their ISA files state them (slots may be null), best first.
std::span<const KernelTable* const> all_kernel_tables() noexcept;

/// This CPU has what the table needs.
bool can_run(const KernelTable& table) noexcept;

/// Whether calls on this (resolved) table multiply pairs of bf16 and round softmax weights to bf16.
/// Decided by the kind of layer and the dtypes alone, never by rows, layout, pages or batch: all of
/// a layer's calls on one machine run one arithmetic.
bool uses_bf16_dot(const KernelTable& table, Arithmetic arithmetic, DType q_dtype, DType kv_dtype,
                   bool rotates_q) noexcept;

/// The table named `isa`, or, when empty, the one that ATTNRT_ISA names, else the best that runs
/// here. Every slot is filled from worse tables where the named one leaves it open. The table
/// lives as long as the process; thread-safe.
/// Errors: InvalidArgument for an unknown name, Unavailable for what this CPU lacks.
Status resolve_table(std::string_view isa, const KernelTable*& table);

/// All tables, best first, with the reason why (not).
std::vector<Capability> isa_capabilities();

/// What resolve_table("") gives, and why: "ATTNRT_ISA", "best of this CPU".
Status default_isa(std::string& name, std::string& reason);

}  // namespace attnrt::cpu
