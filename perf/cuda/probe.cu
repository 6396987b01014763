// SPDX-License-Identifier: Apache-2.0
// Filling caches with numbers of a plausible spread, reading them as fast as memory allows, and
// multiplying as fast as tensor cores do.
#include "perf/cuda/multiply.cuh"
#include "perf/cuda/probe.hpp"

namespace attnrt::perf {
namespace {

__global__ void fill_kernel(uint16_t* data, int64_t elements, uint32_t seed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements; i += step) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435761u + seed;
    x = (x ^ (x >> 16)) * 2246822519u;
    // Sign and mantissa at random, magnitudes from 0.5 to 2.
    const uint32_t exponent = 126u + (x >> 30 & 1u);
    data[i] = static_cast<uint16_t>((x & 0x8000u) | exponent << 7 | (x >> 20 & 0x7fu));
  }
}

__global__ void read_kernel(const uint4* data, int64_t count, uint32_t* sink) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  uint32_t sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    const uint4 four = data[i];
    sum ^= four.x ^ four.y ^ four.z ^ four.w;
  }
  if (sum == 0x12345678u) *sink = sum;  // so that the reads are not removed
}

template <class T>
__global__ void __launch_bounds__(kMultiplyThreads)
    multiply_kernel(int32_t iterations, float* sink) {
  multiply_block<T>(iterations, sink);
}

constexpr unsigned kBlocks = 132 * 16;
constexpr unsigned kThreads = 256;

}  // namespace

void fill_bf16(void* data, int64_t elements, uint32_t seed) {
  fill_kernel<<<kBlocks, kThreads>>>(static_cast<uint16_t*>(data), elements, seed);
}

void read_all(const void* data, int64_t bytes, uint32_t* sink) {
  read_kernel<<<kBlocks, kThreads>>>(static_cast<const uint4*>(data), bytes / 16, sink);
}

double multiply_all(bool bf16, int32_t num_sms, float* sink) {
  // 16 warps a processor; about a millisecond, which dwarfs the launch.
  constexpr int32_t kIterations = 8192;
  const auto blocks = static_cast<unsigned>(num_sms) * 4;
  if (bf16) {
    multiply_kernel<cuda::BFloat16><<<blocks, kMultiplyThreads>>>(kIterations, sink);
  } else {
    multiply_kernel<cuda::Half><<<blocks, kMultiplyThreads>>>(kIterations, sink);
  }
  return static_cast<double>(multiply_flops(kIterations)) * blocks;
}

}  // namespace attnrt::perf
