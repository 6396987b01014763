// SPDX-License-Identifier: Apache-2.0
// The multiply loop of AMX's bf16 products. Exports one symbol.
#include "backends/cpu/kernels/amx_instructions.hpp"
#include "perf/probe_kernels.hpp"

namespace attnrt::perf {
namespace {

using cpu::tile_dot_bf16;
using cpu::tile_load;
using cpu::tile_store;
using cpu::tile_zero;

constexpr int kRows = 16;
constexpr int kRowBytes = 64;
constexpr int kColumns = 16;
constexpr int kDepth = 32;  // bf16 in a row of a tile

// A product takes 16 cycles and its sum is there after 52: four chains keep the unit busy, six are
// what is left of eight tiles.
constexpr int kChains = 6;

// Each pair of products adds 1/2 * 1/2 - 1/2 * 1/4 = 1/8, an element 2 for each tile product: exact
// up to 2^23 iterations.
float amx_chains(int64_t iterations) {
  cpu::TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = kRows;
    config.colsb[tile] = kRowBytes;
  }
  alignas(64) uint32_t a[kRows * kColumns];
  alignas(64) uint32_t b[kRows * kColumns];
  for (int i = 0; i < kRows * kColumns; ++i) {
    a[i] = 0x3f003f00u;  // 1/2, 1/2
    b[i] = 0xbe803f00u;  // -1/4, 1/2
  }
  cpu::tile_load_config(config);
  tile_load<6>(a, kRowBytes);
  tile_load<7>(b, kRowBytes);
  tile_zero<0>();
  tile_zero<1>();
  tile_zero<2>();
  tile_zero<3>();
  tile_zero<4>();
  tile_zero<5>();
  for (int64_t i = 0; i < iterations; ++i) {
    tile_dot_bf16<0, 6, 7>();
    tile_dot_bf16<1, 6, 7>();
    tile_dot_bf16<2, 6, 7>();
    tile_dot_bf16<3, 6, 7>();
    tile_dot_bf16<4, 6, 7>();
    tile_dot_bf16<5, 6, 7>();
  }
  alignas(64) float sums[kChains][kRows * kColumns];
  tile_store<0>(sums[0], kRowBytes);
  tile_store<1>(sums[1], kRowBytes);
  tile_store<2>(sums[2], kRowBytes);
  tile_store<3>(sums[3], kRowBytes);
  tile_store<4>(sums[4], kRowBytes);
  tile_store<5>(sums[5], kRowBytes);
  cpu::tile_release();
  float total = 0.0f;
  for (const auto& chain : sums) {
    for (const float element : chain) total += element;
  }
  return total;
}

}  // namespace

constinit const MultiplyLoop kAmxBf16Loop = {
    .name = "AMX bf16",
    .run = amx_chains,
    .flops_per_iteration = int64_t{2} * kChains * kRows * kColumns * kDepth,
};

}  // namespace attnrt::perf
