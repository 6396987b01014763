// SPDX-License-Identifier: Apache-2.0
// Two primitives per shape, shared by the workers; of each worker a stream, scratch memory and
// places for K, V and p. All of it is made once per shape and context (about 0.2 ms a primitive).
//
// Every call runs on the thread that makes it. Debian's oneDNN is built for OpenMP: the number of
// its threads is a setting of the calling thread, held at 1 for the time of the call, so that no
// team of threads is ever woken beside oneTBB's.
#include "backends/cpu/onednn_panels.hpp"

#include <omp.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <vector>

#include "backends/cpu/kernels/kernel_table.hpp"
#include "backends/cpu/panel_source.hpp"

namespace attnrt::cpu {
namespace {

static_assert(DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP,
              "OneThread holds OpenMP to one thread, and no other runtime");

constexpr int32_t kLineColumns = 16;
constexpr size_t kAlign = 64;

class OneThread {
 public:
  OneThread() noexcept : before_(omp_get_max_threads()) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  ~OneThread() {
    if (before_ != 1) omp_set_num_threads(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

struct Aligned {
  void operator()(std::byte* memory) const {
    ::operator delete[](memory, std::align_val_t{kAlign});
  }
};
using AlignedBytes = std::unique_ptr<std::byte[], Aligned>;

// All zero: what oneDNN pads B with, where it pads.
AlignedBytes aligned_bytes(size_t bytes) {
  AlignedBytes memory(static_cast<std::byte*>(::operator new[](bytes, std::align_val_t{kAlign})));
  std::memset(memory.get(), 0, bytes);
  return memory;
}

struct MatmulShape {
  DType dtype;
  int32_t steps, columns;

  [[nodiscard]] int32_t steps_of_line() const { return dtype == DType::kF32 ? 1 : 2; }
};

std::string text_of(const MatmulShape& shape) {
  return "oneDNN's matmul of " + std::to_string(kPanelRows) + " x " + std::to_string(shape.steps) +
         " by " + std::to_string(shape.steps) + " x " + std::to_string(shape.columns) + " " +
         to_string(shape.dtype);
}

// Element (step, column) of a blocked B, in elements.
int64_t element_at(const dnnl_memory_desc_t& b, int64_t step, int64_t column) {
  const dnnl_blocking_desc_t& blocks = b.format_desc.blocking;
  std::array<int64_t, 2> at{step, column};
  int64_t offset = b.offset0;
  int64_t stride = 1;
  for (int i = blocks.inner_nblks - 1; i >= 0; --i) {
    const auto dim = static_cast<size_t>(blocks.inner_idxs[i]);
    offset += at[dim] % blocks.inner_blks[i] * stride;
    at[dim] /= blocks.inner_blks[i];
    stride *= blocks.inner_blks[i];
  }
  return offset + at[0] * blocks.strides[0] + at[1] * blocks.strides[1];
}

// Where the lines of B stand; empty where 16 columns do not stand together.
std::vector<int32_t> lines_of(const dnnl_memory_desc_t& b, const MatmulShape& shape) {
  if (b.format_kind != dnnl_blocked) return {};
  const int32_t steps = shape.steps_of_line();
  const int32_t elements = kLineColumns * steps;
  std::vector<int32_t> lines;
  for (int32_t step = 0; step < shape.steps; step += steps) {
    for (int32_t column = 0; column < shape.columns; column += kLineColumns) {
      const int64_t first = element_at(b, step, column);
      if (first % elements != 0) return {};
      for (int32_t i = 0; i < elements; ++i) {
        if (element_at(b, step + i % steps, column + i / steps) != first + i) return {};
      }
      lines.push_back(static_cast<int32_t>(first / elements));
    }
  }
  return lines;
}

// One shape's code, and what of its memory it wants where.
class Matmul {
 public:
  Matmul(const MatmulShape& shape, const dnnl::engine& engine) : shape_(shape) {
    using Desc = dnnl::memory::desc;
    using Type = dnnl::memory::data_type;
    using Tag = dnnl::memory::format_tag;
    const Type type = shape.dtype == DType::kF32 ? Type::f32 : Type::bf16;
    const Desc a({kPanelRows, shape.steps}, type, Tag::ab);
    const Desc b({shape.steps, shape.columns}, type, Tag::any);
    const Desc c({kPanelRows, shape.columns}, Type::f32, Tag::ab);
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    description_ = dnnl::matmul::primitive_desc({a, b, c}, attributes, engine);
    code_ = dnnl::matmul(description_);
    lines_ = lines_of(description_.weights_desc().data, shape);
  }

  [[nodiscard]] Status status() const {
    if (!lines_.empty()) return {};
    return {Code::kUnsupported, text_of(shape_) + " (" + description_.impl_info_str() +
                                    ") wants the second in an order that has no lines of " +
                                    std::to_string(kLineColumns) + " columns"};
  }
  [[nodiscard]] const dnnl::matmul& code() const { return code_; }
  [[nodiscard]] const dnnl::matmul::primitive_desc& description() const { return description_; }
  [[nodiscard]] const int32_t* lines() const { return lines_.data(); }

 private:
  MatmulShape shape_;
  dnnl::matmul::primitive_desc description_;
  dnnl::matmul code_;
  std::vector<int32_t> lines_;
};

// A matmul as one worker calls it.
class MatmulCall {
 public:
  MatmulCall(const Matmul& matmul, const dnnl::engine& engine, std::atomic<bool>& failed)
      : matmul_(matmul),
        failed_(failed),
        stream_(engine),
        b_memory_(aligned_bytes(matmul.description().weights_desc().get_size())),
        scratch_memory_(aligned_bytes(matmul.description().scratchpad_desc().get_size())),
        a_(matmul.description().src_desc(), engine, nullptr),
        b_(matmul.description().weights_desc(), engine, b_memory_.get()),
        c_(matmul.description().dst_desc(), engine, nullptr),
        scratch_(matmul.description().scratchpad_desc(), engine, scratch_memory_.get()) {}

  PanelProduct product() { return {b_memory_.get(), matmul_.lines(), multiply, this}; }

 private:
  static void multiply(void* call, const void* a, float* c) noexcept {
    static_cast<MatmulCall*>(call)->run(a, c);
  }

  void run(const void* a, float* c) noexcept {
    const OneThread one;
    try {
      a_.set_data_handle(const_cast<void*>(a), stream_);
      c_.set_data_handle(c, stream_);
      const std::array<dnnl_exec_arg_t, 4> args{{{DNNL_ARG_SRC, a_.get()},
                                                 {DNNL_ARG_WEIGHTS, b_.get()},
                                                 {DNNL_ARG_DST, c_.get()},
                                                 {DNNL_ARG_SCRATCHPAD, scratch_.get()}}};
      dnnl::error::wrap_c_api(dnnl_primitive_execute(matmul_.code().get(), stream_.get(),
                                                     static_cast<int>(args.size()), args.data()),
                              "a matmul failed");
      stream_.wait();
    } catch (...) {
      failed_.store(true, std::memory_order_relaxed);
    }
  }

  const Matmul& matmul_;
  std::atomic<bool>& failed_;
  dnnl::stream stream_;
  AlignedBytes b_memory_, scratch_memory_;
  dnnl::memory a_, b_, c_, scratch_;
};

// What one worker needs for a shape.
struct WorkerPanels {
  WorkerPanels(const Matmul& score_code, const Matmul& value_code, const PanelShape& shape,
               const dnnl::engine& engine, std::atomic<bool>& failed)
      : scores(score_code, engine, failed),
        values(value_code, engine, failed),
        weights(aligned_bytes(size_t{kPanelRows} * kBlockKeys * sizeof(float))),
        sums(aligned_bytes(kPanelRows * static_cast<size_t>(shape.dim_v) * sizeof(float))),
        products{scores.product(), values.product(), weights.get(),
                 reinterpret_cast<float*>(sums.get())} {}

  MatmulCall scores, values;
  AlignedBytes weights, sums;
  PanelProducts products;
};

struct ShapePanels {
  PanelShape shape;
  Matmul scores, values;
  std::vector<std::unique_ptr<WorkerPanels>> workers;

  ShapePanels(const PanelShape& wanted, const dnnl::engine& engine)
      : shape(wanted),
        scores({wanted.dtype, wanted.dim, kBlockKeys}, engine),
        values({wanted.dtype, kBlockKeys, wanted.dim_v}, engine) {}
};

class OneDnnPanels final : public PanelSource {
 public:
  Status prepare(const PanelShape& shape, int32_t workers) override {
    const OneThread one;  // oneDNN makes code for as many threads as there are now
    current_ = nullptr;
    failed_.store(false, std::memory_order_relaxed);
    try {
      if (engine_ == nullptr) engine_ = std::make_unique<dnnl::engine>(kCpu, 0);
      ShapePanels* panels = find(shape);
      if (panels == nullptr) {
        auto made = std::make_unique<ShapePanels>(shape, *engine_);
        if (Status status = made->scores.status(); !status.ok()) return status;
        if (Status status = made->values.status(); !status.ok()) return status;
        panels = keep(std::move(made));
      }
      while (panels->workers.size() < static_cast<size_t>(workers)) {
        panels->workers.push_back(std::make_unique<WorkerPanels>(panels->scores, panels->values,
                                                                 shape, *engine_, failed_));
      }
      current_ = panels;
    } catch (const dnnl::error& error) {
      return status_of(error, shape);
    }
    return {};
  }

  PanelProducts* of_worker(int32_t worker) noexcept override {
    return &current_->workers[static_cast<size_t>(worker)]->products;
  }

  [[nodiscard]] Status result() const override {
    if (!failed_.load(std::memory_order_relaxed)) return {};
    return {Code::kInternal, "a matmul of oneDNN failed, out and lse are garbage"};
  }

 private:
  static constexpr auto kCpu = dnnl::engine::kind::cpu;
  // A model has one or two kinds of layers; the oldest shape makes room for a new one.
  static constexpr size_t kMostShapes = 8;

  static Status status_of(const dnnl::error& error, const PanelShape& shape) {
    if (error.status == dnnl_out_of_memory) return {Code::kOutOfMemory, "oneDNN has no memory"};
    const Code code = error.status == dnnl_unimplemented ? Code::kUnsupported : Code::kInternal;
    return {code, "oneDNN: " + std::string(error.what()) + " (products of " +
                      to_string(shape.dtype) + ", head dims " + std::to_string(shape.dim) +
                      " and " + std::to_string(shape.dim_v) + ")"};
  }

  ShapePanels* find(const PanelShape& shape) {
    for (const auto& panels : shapes_) {
      if (panels->shape == shape) return panels.get();
    }
    return nullptr;
  }

  ShapePanels* keep(std::unique_ptr<ShapePanels> panels) {
    if (shapes_.size() == kMostShapes) shapes_.erase(shapes_.begin());
    shapes_.push_back(std::move(panels));
    return shapes_.back().get();
  }

  std::atomic<bool> failed_{false};
  std::unique_ptr<dnnl::engine> engine_;
  std::vector<std::unique_ptr<ShapePanels>> shapes_;
  ShapePanels* current_ = nullptr;
};

}  // namespace

PanelSource* make_onednn_panels() { return new OneDnnPanels; }

}  // namespace attnrt::cpu
