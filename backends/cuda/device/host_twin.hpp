// SPDX-License-Identifier: Apache-2.0
// The primitives of device.hpp for a CPU. What needs the other threads of the block, or a check of
// memory, is left to a machine that the program brings: the tests' SIMT emulator. No part of the
// library is linked with it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "attnrt/tensor.hpp"

#define ATTNRT_DEVICE inline
#define ATTNRT_UNROLL
#define ATTNRT_NO_UNROLL

namespace attnrt::cuda::device {

// What the emulator defines (tests/support/simt_*.cpp). Functions that meet other threads also take
// the line of the kernel that called.
namespace machine {

struct Where {
  const char* file;
  int line;
};

enum class WarpOp : uint8_t { kSync, kShuffle, kLoadMatrix, kLoadTransposed, kMmaHalf, kMmaBFloat };

struct ShuffleArgs {
  uint32_t value;
  uint32_t lane;
  uint32_t result;
};
struct LoadMatrixArgs {
  uint32_t address;
  uint32_t* r;
};
struct MmaArgs {
  float* d;
  const uint32_t* a;
  uint32_t b[2];
};

uint32_t thread_index();
uint32_t block_x();
uint32_t block_y();
bool block_barrier(bool value, Where where);
void warp_collective(WarpOp op, void* args, Where where);
void copy_async(uint32_t address, const void* source, uint32_t bytes, Where where);
void copy_async_commit();
void copy_async_wait(uint32_t pending);
void global_read(const void* source, void* value, uint32_t bytes, Where where);
void global_write(void* target, const void* value, uint32_t bytes, Where where);
void shared_read(uint32_t address, void* value, uint32_t bytes, Where where);
void shared_write(uint32_t address, const void* value, uint32_t bytes, Where where);

}  // namespace machine

#define ATTNRT_WHERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline uint32_t thread_index() { return machine::thread_index(); }
inline uint32_t lane_index() { return machine::thread_index() % 32; }
inline uint32_t block_x() { return machine::block_x(); }
inline uint32_t block_y() { return machine::block_y(); }

inline void sync_block(ATTNRT_WHERE) { machine::block_barrier(false, {file, line}); }
inline bool sync_block_or(bool value, ATTNRT_WHERE) {
  return machine::block_barrier(value, {file, line});
}
inline void sync_warp(ATTNRT_WHERE) {
  machine::warp_collective(machine::WarpOp::kSync, nullptr, {file, line});
}

template <class T>
T shuffle(T value, int lane, ATTNRT_WHERE) {
  static_assert(sizeof(T) == 4);
  machine::ShuffleArgs args{0, static_cast<uint32_t>(lane) % 32, 0};
  std::memcpy(&args.value, &value, 4);
  machine::warp_collective(machine::WarpOp::kShuffle, &args, {file, line});
  std::memcpy(&value, &args.result, 4);
  return value;
}
template <class T>
T shuffle_xor(T value, int mask, ATTNRT_WHERE) {
  return shuffle(value, static_cast<int>(lane_index()) ^ mask, file, line);
}

inline void load_matrix(uint32_t (&r)[4], uint32_t address, ATTNRT_WHERE) {
  machine::LoadMatrixArgs args{address, r};
  machine::warp_collective(machine::WarpOp::kLoadMatrix, &args, {file, line});
}
inline void load_matrix_transposed(uint32_t (&r)[4], uint32_t address, ATTNRT_WHERE) {
  machine::LoadMatrixArgs args{address, r};
  machine::warp_collective(machine::WarpOp::kLoadTransposed, &args, {file, line});
}

template <class T>
void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, ATTNRT_WHERE) {
  machine::MmaArgs args{d, a, {b0, b1}};
  const auto op = std::is_same_v<T, Half> ? machine::WarpOp::kMmaHalf : machine::WarpOp::kMmaBFloat;
  machine::warp_collective(op, &args, {file, line});
}

inline void copy_async(uint32_t address, const void* source, uint32_t bytes, ATTNRT_WHERE) {
  machine::copy_async(address, source, bytes, {file, line});
}
inline void copy_async_commit() { machine::copy_async_commit(); }
template <int kPending>
void copy_async_wait() {
  machine::copy_async_wait(kPending);
}

template <class T>
T load(const T* source, ATTNRT_WHERE) {
  T value;
  machine::global_read(source, &value, sizeof value, {file, line});
  return value;
}
template <class T>
void store(T* target, T value, ATTNRT_WHERE) {
  machine::global_write(target, &value, sizeof value, {file, line});
}

inline uint32_t shared_base() { return 0; }
template <class T>
T shared_load(uint32_t address, ATTNRT_WHERE) {
  T value;
  machine::shared_read(address, &value, sizeof value, {file, line});
  return value;
}
template <class T>
void shared_store(uint32_t address, T value, ATTNRT_WHERE) {
  machine::shared_write(address, &value, sizeof value, {file, line});
}

inline float exp2_fast(float x) { return std::exp2(x); }
inline float rcp_fast(float x) { return 1.0f / x; }
inline float natural_log(float x) { return std::log(x); }
inline float divide(float a, float b) { return a / b; }
inline float fma(float a, float b, float c) { return std::fma(a, b, c); }
inline float mul(float a, float b) { return a * b; }
inline float add(float a, float b) { return a + b; }
inline float maximum(float a, float b) { return std::fmax(a, b); }
inline float absolute(float a) { return std::fabs(a); }
inline float exponential(float x) { return std::exp(x); }
inline float exponential2(float x) { return std::exp2(x); }
inline float log_of_one_plus(float x) { return std::log1p(x); }
inline float hyperbolic_tangent(float x) { return std::tanh(x); }
inline float error_function(float x) { return std::erf(x); }
inline float square_root(float x) { return std::sqrt(x); }
inline float sine(float x) { return std::sin(x); }
inline float cosine(float x) { return std::cos(x); }
inline float power(float x, float y) { return std::pow(x, y); }
inline float float_of_bits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
inline float infinity() { return std::numeric_limits<float>::infinity(); }

template <class T>
uint32_t pack(float low, float high) {
  if constexpr (std::is_same_v<T, Half>) {
    return uint32_t{f32_to_f16(low)} | uint32_t{f32_to_f16(high)} << 16;
  } else {
    return uint32_t{f32_to_bf16(low)} | uint32_t{f32_to_bf16(high)} << 16;
  }
}
template <class T>
float unpack_low(uint32_t bits) {
  const auto one = static_cast<uint16_t>(bits & 0xffffu);
  return std::is_same_v<T, Half> ? f16_to_f32(one) : bf16_to_f32(one);
}
template <class T>
float unpack_high(uint32_t bits) {
  return unpack_low<T>(bits >> 16);
}

}  // namespace attnrt::cuda::device
