// SPDX-License-Identifier: Apache-2.0
#include "perf/cuda/lines.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "attnrt/attnrt.hpp"
#include "perf/cuda/probe.hpp"

namespace attnrt::perf {
namespace {

void require(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}
void require(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

// Device memory for bf16 elements, filled.
class Tensor {
 public:
  explicit Tensor(int64_t elements, uint32_t seed = 1) {
    require(cudaMalloc(&data_, static_cast<size_t>(elements) * 2));
    fill_bf16(data_, elements, seed);
    require(cudaGetLastError());
  }
  ~Tensor() { cudaFree(data_); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  [[nodiscard]] void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

double median_ms(int iterations, const std::function<void(int)>& call) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 2 * iterations; ++i) {
    require(cudaEventRecord(begin));
    call(i);
    require(cudaEventRecord(end));
    require(cudaEventSynchronize(end));
    float ms = 0.0f;
    require(cudaEventElapsedTime(&ms, begin, end));
    if (i >= iterations) times.push_back(ms);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(times.begin(), times.begin() + iterations / 2, times.end());
  return times[static_cast<size_t>(iterations / 2)];
}

// Lengths and pages of a line, for as long as its plan lives.
struct Step {
  std::vector<int32_t> cu_q{0}, cu_k{0}, lengths, pages;
  int32_t max_pages = 0;
  int64_t slots = 0;  // of the cache
  SequenceBatch batch;

  explicit Step(const AttnrtLine& line) {
    for (int32_t b = 0; b < line.batch; ++b) {
      cu_q.push_back(cu_q.back() + line.q_lens[b]);
      cu_k.push_back(cu_k.back() + line.kv_lens[b]);
      lengths.push_back(line.kv_lens[b]);
      if (line.page_size == 0) continue;
      max_pages = std::max(max_pages, (line.kv_lens[b] + line.page_size - 1) / line.page_size);
    }
    batch.cu_seqlens_q = cu_q;
    slots = cu_k.back();
    if (line.page_size == 0) {
      batch.cu_seqlens_k = cu_k;
      return;
    }
    pages.resize(static_cast<size_t>(line.batch) * static_cast<size_t>(max_pages));
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(7));
    slots = static_cast<int64_t>(pages.size()) * line.page_size;
    batch.seqused_k = lengths;
    batch.block_table = BlockTable::dense(pages, max_pages, line.page_size);
  }
};

KvView view_of(const AttnrtLine& line, const Step& step, void* k, void* v) {
  KvView kv = line.page_size == 0
                  ? KvView::packed(k, v, DType::kBF16, step.slots, line.heads_kv, line.head_dim)
                  : KvView::paged(k, v, DType::kBF16, KvLayout::kNHD,
                                  static_cast<int64_t>(step.pages.size()), line.page_size,
                                  line.heads_kv, line.head_dim);
  kv.device = Device::kCuda;
  return kv;
}

void time_line(const AttnrtLine& line, double& call_ms, double& read_ms) {
  const Step step(line);
  AttentionSpec spec;
  spec.num_heads_q = line.heads_q;
  spec.num_heads_kv = line.heads_kv;
  spec.head_dim = line.head_dim;
  spec.causal = line.causal != 0;
  Plan plan;
  require(make_plan(spec, step.batch, plan));
  ContextOptions options;
  options.backend = "cuda";
  Context context;
  require(Context::create(options, context));

  const int64_t rows = step.cu_q.back();
  const int64_t cache = step.slots * line.heads_kv * line.head_dim;
  const Tensor q(rows * line.heads_q * line.head_dim);
  const Tensor out(rows * line.heads_q * line.head_dim);
  const Tensor kv(2 * cache * line.caches, 3);
  const Tensor sink(8);
  AttendArgs args;
  args.q = dense_tensor(static_cast<const void*>(q.data()), DType::kBF16, rows, line.heads_q,
                        line.head_dim);
  args.out = dense_tensor(out.data(), DType::kBF16, rows, line.heads_q, line.head_dim);
  args.q.device = args.out.device = Device::kCuda;
  const auto cache_at = [&](int i) {
    return static_cast<std::byte*>(kv.data()) + int64_t{i % line.caches} * cache * 4;
  };
  call_ms = median_ms(line.iterations, [&](int i) {
    args.kv = view_of(line, step, cache_at(i), cache_at(i) + cache * 2);
    require(attend(context, plan, args));
  });
  read_ms = median_ms(line.iterations, [&](int i) {
    read_all(cache_at(i), cache * 4, static_cast<uint32_t*>(sink.data()));
    require(cudaGetLastError());
  });
}

}  // namespace
}  // namespace attnrt::perf

int attnrt_line_time(const AttnrtLine* line, double* call_ms, double* read_ms, char* error,
                     size_t error_bytes) {
  try {
    attnrt::perf::time_line(*line, *call_ms, *read_ms);
    return 0;
  } catch (const std::exception& failure) {
    std::snprintf(error, error_bytes, "%s", failure.what());
    return 1;
  }
}
