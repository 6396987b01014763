// SPDX-License-Identifier: Apache-2.0
// One attend task over memory that ends where a page without access begins, and the same task in
// double precision by a loop that shares nothing with the kernels.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/tensor.hpp"
#include "backends/cpu/dispatch.hpp"
#include "backends/cpu/kernels/kernel_table.hpp"
#include "backends/cpu/kernels/scratch.hpp"

namespace attnrt::test {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kInf = std::numeric_limits<double>::infinity();

/// Memory between two pages that fault. It ends at the second one: the first byte read or written
/// beyond it ends the test.
class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t body = (bytes + page - 1) / page * page;
    mapped_bytes_ = body + 2 * page;
    void* mapped =
        mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, /*fd=*/-1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    mapped_ = static_cast<std::byte*>(mapped);
    if (body > 0 && mprotect(mapped_ + page, body, PROT_READ | PROT_WRITE) != 0) {
      throw std::bad_alloc();
    }
    data_ = mapped_ + page + body - bytes;
  }
  ~GuardedBuffer() {
    if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
  }
  GuardedBuffer(GuardedBuffer&& other) noexcept
      : mapped_(std::exchange(other.mapped_, nullptr)),
        data_(other.data_),
        mapped_bytes_(other.mapped_bytes_) {}
  GuardedBuffer& operator=(GuardedBuffer&& other) noexcept {
    std::swap(mapped_, other.mapped_);
    std::swap(data_, other.data_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
    return *this;
  }

  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  std::byte* mapped_ = nullptr;
  std::byte* data_ = nullptr;
  size_t mapped_bytes_ = 0;
};

inline void put(DType dtype, std::byte* base, int64_t index, double value) {
  const auto x = static_cast<float>(value);
  if (dtype == DType::kF32) {
    reinterpret_cast<float*>(base)[index] = x;
  } else {
    reinterpret_cast<uint16_t*>(base)[index] =
        dtype == DType::kBF16 ? f32_to_bf16(x) : f32_to_f16(x);
  }
}

inline double get(DType dtype, const std::byte* base, int64_t index) {
  if (dtype == DType::kF32) return reinterpret_cast<const float*>(base)[index];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(base)[index];
  return dtype == DType::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

struct KernelShape {
  int32_t tokens = 1, group = 1, heads_kv = 1;
  int32_t head_dim = 64, head_dim_v = 64;
  int32_t kv_len = 100;
  int32_t page_size = 16;  // 0: packed
  bool heads_first = false;
  bool v_is_k = false;
  int32_t q_start = -1;  // -1: kv_len - tokens
  int32_t window_left = -1, window_right = 0;
  DType kv_dtype = DType::kF32, q_dtype = DType::kF32, out_dtype = DType::kF32;
  float softcap = 0.0f;
  bool alibi = false, sinks = false;
  uint32_t seed = 1;

  [[nodiscard]] int32_t heads_q() const { return group * heads_kv; }
  [[nodiscard]] int32_t first_position() const { return q_start >= 0 ? q_start : kv_len - tokens; }
  [[nodiscard]] bool sees(int32_t token, int32_t key) const {
    const int64_t p = int64_t{first_position()} + token;
    return key < kv_len && (window_left < 0 || key >= p - window_left) &&
           (window_right < 0 || key <= p + window_right);
  }
  [[nodiscard]] std::string text() const {
    return std::to_string(tokens) + " tokens, group " + std::to_string(group) + ", " +
           std::to_string(heads_kv) + " KV heads, dims " + std::to_string(head_dim) + "/" +
           std::to_string(head_dim_v) + ", " + std::to_string(kv_len) + " " + to_string(kv_dtype) +
           " keys, pages of " + std::to_string(page_size) + ", window " +
           std::to_string(window_left) + "/" + std::to_string(window_right);
  }
};

/// Finished rows of a task: out (tokens, heads, Dv) and lse (tokens, heads).
struct KernelOutput {
  GuardedBuffer out;
  GuardedBuffer lse_memory;
  float* lse;
  KernelOutput(int64_t states, int64_t dim_v, DType dtype)
      : out(static_cast<size_t>(states * dim_v * size_of(dtype))),
        lse_memory(static_cast<size_t>(states) * sizeof(float)),
        lse(reinterpret_cast<float*>(lse_memory.data())) {}
};

struct PartialBuffer {
  std::vector<float> acc, ref, sum;
  PartialBuffer(int64_t splits, int64_t states, int64_t dim_v)
      : acc(static_cast<size_t>(splits * states * dim_v), 7.0f),
        ref(static_cast<size_t>(splits * states), 7.0f),
        sum(static_cast<size_t>(splits * states), 7.0f),
        states_(states) {}
  cpu::PartialTarget target() { return {acc.data(), ref.data(), sum.data(), states_}; }

 private:
  int64_t states_;
};

/// q, K and V of a shape; slots that hold no key are NaN.
class KernelCase {
 public:
  explicit KernelCase(const KernelShape& s)
      : shape(s),
        q(static_cast<size_t>(int64_t{s.tokens} * s.heads_q() * s.head_dim * size_of(s.q_dtype))),
        k(static_cast<size_t>(slots() * s.heads_kv * s.head_dim * size_of(s.kv_dtype))),
        v(static_cast<size_t>(slots() * s.heads_kv * s.head_dim_v * size_of(s.kv_dtype))),
        scratch_(cpu::attend_scratch_bytes(int64_t{s.tokens} * s.group, s.head_dim, s.head_dim_v,
                                           /*mask=*/nullptr, /*score=*/nullptr) +
                 64) {
    for (int32_t i = num_pages() - 1; i >= 0; --i) pages.push_back(i);
    fill();
    if (s.alibi) slopes = {0.5f, 0.031f, 0.25f, 0.0f, 1.0f, 0.7f, 0.01f, 0.2f};
    slopes.resize(s.alibi ? static_cast<size_t>(s.heads_q()) : 0, 0.125f);
    if (s.sinks) sinks.assign(static_cast<size_t>(s.heads_q()), 1.5f);
  }

  [[nodiscard]] int64_t k_at(int32_t key, int32_t head) const {
    return at(key, head, shape.head_dim);
  }
  [[nodiscard]] int64_t v_at(int32_t key, int32_t head) const {
    return at(key, head, shape.head_dim_v);
  }
  [[nodiscard]] int64_t q_at(int32_t token, int32_t head) const {
    return (int64_t{token} * shape.heads_q() + head) * shape.head_dim;
  }
  void set_k(int32_t key, int32_t head, int32_t d, double x) {
    put(shape.kv_dtype, k.data(), k_at(key, head) + d, x);
  }
  void set_v(int32_t key, int32_t head, int32_t d, double x) {
    put(shape.kv_dtype, v.data(), v_at(key, head) + d, x);
  }
  [[nodiscard]] double value(int32_t key, int32_t head, int32_t d) const {
    return shape.v_is_k ? get(shape.kv_dtype, k.data(), k_at(key, head) + d)
                        : get(shape.kv_dtype, v.data(), v_at(key, head) + d);
  }

  [[nodiscard]] KernelOutput output() const {
    return {int64_t{shape.tokens} * shape.heads_q(), shape.head_dim_v, shape.out_dtype};
  }

  /// Tokens [begin, end) against the union of the keys they see.
  [[nodiscard]] cpu::AttendTask task(int32_t begin, int32_t end, const KernelOutput& to) const {
    cpu::AttendTask task{};
    task.q = q.data() + q_at(begin, 0) * size_of(shape.q_dtype);
    task.q_dtype = shape.q_dtype;
    task.q_token_stride = q_at(1, 0);
    task.q_head_stride = shape.head_dim;
    task.kv = source();
    task.tokens = end - begin;
    task.heads_q = shape.heads_q();
    task.group = shape.group;
    task.head_dim = shape.head_dim;
    task.head_dim_v = shape.head_dim_v;
    task.kv_head_begin = 0;
    task.kv_head_end = shape.heads_kv;
    for (int32_t key = 0; key < shape.kv_len; ++key) {
      bool seen = false;
      for (int32_t token = begin; token < end; ++token) seen = seen || shape.sees(token, key);
      if (!seen) continue;
      if (task.key_end == 0) task.key_begin = key;
      task.key_end = key + 1;
    }
    task.kv_len = shape.kv_len;
    task.q_position = shape.first_position() + begin;
    task.window_left = shape.window_left;
    task.window_right = shape.window_right;
    task.scale = scale();
    task.softcap = shape.softcap;
    task.alibi = shape.alibi ? slopes.data() : nullptr;
    task.out = target(begin, to);
    void* memory = scratch_.data();
    size_t room = scratch_.size();
    task.scratch = std::align(64, room - 64, memory, room);
    return task;
  }

  [[nodiscard]] cpu::OutputTarget target(int32_t token, const KernelOutput& to) const {
    const int64_t first = int64_t{token} * shape.heads_q();
    cpu::OutputTarget out{};
    out.out = to.out.data() + first * shape.head_dim_v * size_of(shape.out_dtype);
    out.dtype = shape.out_dtype;
    out.token_stride = int64_t{shape.heads_q()} * shape.head_dim_v;
    out.head_stride = shape.head_dim_v;
    out.lse = to.lse + first;
    out.lse_token_stride = shape.heads_q();
    out.lse_head_stride = 1;
    out.sinks = shape.sinks ? sinks.data() : nullptr;
    out.scale = 1.0f;
    return out;
  }

  /// The whole task through one table.
  [[nodiscard]] KernelOutput run(const cpu::KernelTable& table) const {
    KernelOutput to = output();
    kernel(table)(task(0, shape.tokens, to));
    return to;
  }
  [[nodiscard]] bool rounds_weights(const cpu::KernelTable& table) const {
    return cpu::uses_bf16_dot(table, Arithmetic::kFastest, shape.q_dtype, shape.kv_dtype, false);
  }
  [[nodiscard]] cpu::AttendKernel kernel(const cpu::KernelTable& table) const {
    return rounds_weights(table) ? table.attend_bf16_dot
                                 : table.attend[static_cast<int>(shape.kv_dtype)];
  }

  [[nodiscard]] float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape.head_dim)); }

  /// Row (token, head) in double precision, or that of |V|; returns the lse.
  double expected(int32_t token, int32_t head, std::vector<double>& out,
                  bool absolute = false) const {
    std::vector<double> scores;
    double largest = shape.sinks ? double{sinks[static_cast<size_t>(head)]} : -kInf;
    for (int32_t key = 0; key < shape.kv_len; ++key) {
      scores.push_back(score(token, head, key));
      largest = std::max(largest, scores.back());
    }
    out.assign(static_cast<size_t>(shape.head_dim_v), 0.0);
    if (largest == -kInf) return -kInf;
    double sum = shape.sinks ? std::exp(sinks[static_cast<size_t>(head)] - largest) : 0.0;
    for (int32_t key = 0; key < shape.kv_len; ++key) {
      if (!shape.sees(token, key)) continue;
      const double p = std::exp(scores[static_cast<size_t>(key)] - largest);
      sum += p;
      for (int32_t d = 0; d < shape.head_dim_v; ++d) {
        const double x = value(key, head / shape.group, d);
        out[static_cast<size_t>(d)] += p * (absolute ? std::abs(x) : x);
      }
    }
    for (double& x : out) x /= sum;
    return largest + std::log(sum);
  }

  KernelShape shape;
  GuardedBuffer q, k, v;
  std::vector<int32_t> pages;
  std::vector<float> slopes, sinks;

 private:
  // The first slots of the cache belong to nobody, as with left padding.
  static constexpr int32_t kFirstSlot = 3;

  [[nodiscard]] int32_t num_pages() const {
    const int32_t used = kFirstSlot + shape.kv_len;
    return shape.page_size == 0 ? 0 : (used + shape.page_size - 1) / shape.page_size;
  }
  [[nodiscard]] int64_t slots() const {
    return shape.page_size == 0 ? kFirstSlot + shape.kv_len
                                : int64_t{num_pages()} * shape.page_size;
  }
  [[nodiscard]] int64_t at(int32_t key, int32_t head, int32_t dim) const {
    const int64_t slot = kFirstSlot + key;
    if (shape.page_size == 0) return (slot * shape.heads_kv + head) * dim;
    const int64_t page = pages[static_cast<size_t>(slot / shape.page_size)];
    const int64_t offset = slot % shape.page_size;
    const int64_t row = shape.heads_first
                            ? (page * shape.heads_kv + head) * shape.page_size + offset
                            : (page * shape.page_size + offset) * shape.heads_kv + head;
    return row * dim;
  }

  [[nodiscard]] cpu::KvSource source() const {
    cpu::KvSource kv{};
    kv.dtype = shape.kv_dtype;
    kv.head_dim = shape.head_dim;
    kv.head_dim_v = shape.head_dim_v;
    const int64_t token = shape.heads_first ? 1 : shape.heads_kv;
    const int64_t head = shape.heads_first ? shape.page_size : 1;
    kv.k = k.data();
    kv.k_page_stride = int64_t{shape.page_size} * shape.heads_kv * shape.head_dim;
    kv.k_token_stride = token * shape.head_dim;
    kv.k_head_stride = head * shape.head_dim;
    kv.v = v.data();
    kv.v_page_stride = int64_t{shape.page_size} * shape.heads_kv * shape.head_dim_v;
    kv.v_token_stride = token * shape.head_dim_v;
    kv.v_head_stride = head * shape.head_dim_v;
    if (shape.v_is_k) {
      kv.v = kv.k;
      kv.v_page_stride = kv.k_page_stride;
      kv.v_token_stride = kv.k_token_stride;
      kv.v_head_stride = kv.k_head_stride;
    }
    kv.pages = shape.page_size == 0 ? nullptr : pages.data();
    kv.first_slot = kFirstSlot;
    kv.page_size = shape.page_size;
    return kv;
  }

  void fill() {
    std::mt19937 random(shape.seed);
    std::normal_distribution<double> normal;
    const KernelShape& s = shape;
    for (int64_t i = 0; i < slots() * s.heads_kv * s.head_dim; ++i)
      put(s.kv_dtype, k.data(), i, kNaN);
    for (int64_t i = 0; i < slots() * s.heads_kv * s.head_dim_v; ++i) {
      put(s.kv_dtype, v.data(), i, kNaN);
    }
    for (int32_t key = 0; key < s.kv_len; ++key) {
      for (int32_t head = 0; head < s.heads_kv; ++head) {
        for (int32_t d = 0; d < s.head_dim; ++d) set_k(key, head, d, normal(random));
        for (int32_t d = 0; d < s.head_dim_v; ++d) set_v(key, head, d, normal(random));
      }
    }
    for (int64_t i = 0; i < q_at(s.tokens, 0); ++i) put(s.q_dtype, q.data(), i, normal(random));
  }

  [[nodiscard]] double score(int32_t token, int32_t head, int32_t key) const {
    if (!shape.sees(token, key)) return -kInf;
    double s = 0.0;
    for (int32_t d = 0; d < shape.head_dim; ++d) {
      s += get(shape.q_dtype, q.data(), q_at(token, head) + d) *
           get(shape.kv_dtype, k.data(), k_at(key, head / shape.group) + d);
    }
    s *= scale();
    if (shape.softcap > 0) s = shape.softcap * std::tanh(s / shape.softcap);
    if (shape.alibi) {
      const double distance =
          std::abs(double{static_cast<float>(shape.first_position())} + token - key);
      s -= slopes[static_cast<size_t>(head)] * distance;
    }
    return s;
  }

  mutable std::vector<std::byte> scratch_;
};

/// Tables that this CPU can run, every slot filled; at least baseline. Not those whose kernels want
/// a library's products, which contexts bring.
inline std::vector<const cpu::KernelTable*> runnable_tables() {
  std::vector<const cpu::KernelTable*> tables;
  for (const cpu::KernelTable* table : cpu::all_kernel_tables()) {
    const cpu::KernelTable* filled = nullptr;
    const bool runs = cpu::resolve_table(table->name, filled).ok();
    if (runs && filled->make_panels == nullptr) tables.push_back(filled);
  }
  return tables;
}

}  // namespace attnrt::test
