// SPDX-License-Identifier: Apache-2.0
// A plan as the device reads it: one flat piece of memory, uploaded by one copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/cuda/kernels/shape.hpp"
#include "src/plan_data.hpp"

namespace attnrt::cuda {

/// The columns that kernels compute with: the smallest of 64, 128, 192 and 256 that holds both head
/// dims; 0 where none does.
int32_t padded_dim(int32_t head_dim, int32_t head_dim_v) noexcept;

/// Where the lists lie, in bytes from the beginning, each aligned to 16.
struct DevicePlanLayout {
  size_t sequences = 0;
  size_t short_units = 0;
  size_t tall_units = 0;
  size_t merges = 0;
  size_t pages = 0;
  size_t runs = 0;    // of the mask
  size_t tables = 0;  // of the mask, as expr_slots.hpp lays them out
  size_t total = 0;
  uint32_t num_short = 0;
  uint32_t num_tall = 0;
  uint32_t num_merges = 0;
  int32_t merge_tokens = 0;  // of the largest merge
  uint32_t unit_heads = 0;   // KV heads that each unit is launched for
};

/// Sizes only: O(sequences + items + runs).
DevicePlanLayout lay_out(const PlanData& plan) noexcept;

/// Writes what `layout` describes to `bytes`, which has layout.total of them. Copies the pages that
/// are needed from the caller's block table, and the tables of the mask.
void write_device_plan(const PlanData& plan, const DevicePlanLayout& layout,
                       std::span<std::byte> bytes) noexcept;

}  // namespace attnrt::cuda
