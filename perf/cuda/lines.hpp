// SPDX-License-Identifier: Apache-2.0
// Timing of the CUDA backend for scripts/gpu_lines.py, which calls these functions by ctypes, so
// that other libraries can be timed in the same process.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

/// One call: bf16, dense pages in a random order, or packed K and V with page_size 0.
struct AttnrtLine {
  const int32_t* q_lens;   // [batch]
  const int32_t* kv_lens;  // [batch]
  int32_t batch;
  int32_t heads_q;
  int32_t heads_kv;
  int32_t head_dim;
  int32_t page_size;
  int32_t causal;
  int32_t caches;      // copies of K and V that calls take in turns, so that they are not cached
  int32_t iterations;  // timed one by one, after as many that are not
};

/// Medians in milliseconds of the call and of a read of the same K and V bytes. Returns 0, or fills
/// `error` with the reason.
int attnrt_line_time(const AttnrtLine* line, double* call_ms, double* read_ms, char* error,
                     size_t error_bytes);
}
