// SPDX-License-Identifier: Apache-2.0
// The tile instructions, one function each. By inline assembly, because GCC 12's intrinsics do not
// tell the optimiser that they read and write memory: from -O1 on, stores to a configuration or to
// a buffer that a tile is loaded from are dropped. Like all of the kernels: unnamed namespace.
#pragma once

#include <cstdint>

namespace attnrt::cpu {
namespace {

/// What LDTILECFG reads. colsb: bytes of a row.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t colsb[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

inline void tile_load_config(const TileConfig& config) {
  __asm__ volatile("ldtilecfg %0" ::"m"(config) : "memory");
}
inline void tile_store_config(TileConfig& config) {
  __asm__ volatile("sttilecfg %0" : "=m"(config)::"memory");
}
inline void tile_release() { __asm__ volatile("tilerelease" ::: "memory"); }

template <int kTile>
inline void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
}
template <int kTile>
inline void tile_load(const void* base, int64_t stride_bytes) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(base), "r"(stride_bytes), "i"(kTile)
                   : "memory");
}
/// For what is read once: the line may be evicted first.
template <int kTile>
inline void tile_load_once(const void* base, int64_t stride_bytes) {
  __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(base), "r"(stride_bytes), "i"(kTile)
                   : "memory");
}
template <int kTile>
inline void tile_store(void* base, int64_t stride_bytes) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(base), "r"(stride_bytes), "i"(kTile)
                   : "memory");
}

/// C += A * B, A rows of pairs of bf16, B lines of interleaved pairs.
template <int kC, int kA, int kB>
inline void tile_dot_bf16() {
  __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
/// The same over groups of four bytes: signed or unsigned A, signed or unsigned B.
template <int kC, int kA, int kB>
inline void tile_dot_s8s8() {
  __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
template <int kC, int kA, int kB>
inline void tile_dot_s8u8() {
  __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
template <int kC, int kA, int kB>
inline void tile_dot_u8s8() {
  __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}
template <int kC, int kA, int kB>
inline void tile_dot_u8u8() {
  __asm__ volatile("tdpbuud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace attnrt::cpu
