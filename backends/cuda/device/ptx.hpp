// SPDX-License-Identifier: Apache-2.0
// The primitives of device.hpp as PTX. sm_80 is enough for all of them.
#pragma once

#include <cstdint>
#include <type_traits>

#define ATTNRT_DEVICE __device__ __forceinline__
#define ATTNRT_UNROLL _Pragma("unroll")
#define ATTNRT_NO_UNROLL _Pragma("unroll 1")

namespace attnrt::cuda::device {

ATTNRT_DEVICE uint32_t thread_index() { return threadIdx.x; }
ATTNRT_DEVICE uint32_t lane_index() { return threadIdx.x % 32; }
ATTNRT_DEVICE uint32_t block_x() { return blockIdx.x; }
ATTNRT_DEVICE uint32_t block_y() { return blockIdx.y; }

ATTNRT_DEVICE void sync_block() { __syncthreads(); }
ATTNRT_DEVICE void sync_warp() { __syncwarp(); }
ATTNRT_DEVICE bool sync_block_or(bool value) { return __syncthreads_or(value) != 0; }

template <class T>
ATTNRT_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <class T>
ATTNRT_DEVICE T shuffle(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}

ATTNRT_DEVICE void load_matrix(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
ATTNRT_DEVICE void load_matrix_transposed(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

template <class T>
ATTNRT_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, Half>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

ATTNRT_DEVICE void copy_async(uint32_t address, const void* source, uint32_t bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address),
               "l"(__cvta_generic_to_global(source)), "r"(bytes)
               : "memory");
}
ATTNRT_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
ATTNRT_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

template <class T>
ATTNRT_DEVICE T load(const T* source) {
  return *source;
}
template <class T>
ATTNRT_DEVICE void store(T* target, T value) {
  *target = value;
}

/// Byte address of the block's dynamic shared memory.
ATTNRT_DEVICE uint32_t shared_base() {
  extern __shared__ Quad attnrt_shared[];
  return static_cast<uint32_t>(__cvta_generic_to_shared(attnrt_shared));
}
template <class T>
ATTNRT_DEVICE T shared_load(uint32_t address) {
  return *static_cast<const T*>(__cvta_shared_to_generic(address));
}
template <class T>
ATTNRT_DEVICE void shared_store(uint32_t address, T value) {
  *static_cast<T*>(__cvta_shared_to_generic(address)) = value;
}

ATTNRT_DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
ATTNRT_DEVICE float rcp_fast(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
ATTNRT_DEVICE float natural_log(float x) { return logf(x); }
ATTNRT_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }
ATTNRT_DEVICE float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
ATTNRT_DEVICE float mul(float a, float b) { return __fmul_rn(a, b); }
ATTNRT_DEVICE float add(float a, float b) { return __fadd_rn(a, b); }
ATTNRT_DEVICE float maximum(float a, float b) { return fmaxf(a, b); }  // of the one that is no NaN
ATTNRT_DEVICE float absolute(float a) { return fabsf(a); }
ATTNRT_DEVICE float exponential(float x) { return expf(x); }
ATTNRT_DEVICE float exponential2(float x) { return exp2f(x); }
ATTNRT_DEVICE float log_of_one_plus(float x) { return log1pf(x); }
ATTNRT_DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }
ATTNRT_DEVICE float error_function(float x) { return erff(x); }
ATTNRT_DEVICE float square_root(float x) { return __fsqrt_rn(x); }
ATTNRT_DEVICE float sine(float x) { return sinf(x); }
ATTNRT_DEVICE float cosine(float x) { return cosf(x); }
ATTNRT_DEVICE float power(float x, float y) { return powf(x, y); }
ATTNRT_DEVICE float float_of_bits(uint32_t bits) { return __uint_as_float(bits); }
ATTNRT_DEVICE float infinity() { return __int_as_float(0x7f800000); }

template <class T>
ATTNRT_DEVICE uint32_t pack(float low, float high) {
  uint32_t bits;
  if constexpr (std::is_same_v<T, Half>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  }
  return bits;
}
template <class T>
ATTNRT_DEVICE float unpack_low(uint32_t bits) {
  if constexpr (std::is_same_v<T, Half>) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(static_cast<unsigned short>(bits & 0xffffu)));
    return x;
  } else {
    return __uint_as_float(bits << 16);
  }
}
template <class T>
ATTNRT_DEVICE float unpack_high(uint32_t bits) {
  return unpack_low<T>(bits >> 16);
}

}  // namespace attnrt::cuda::device
