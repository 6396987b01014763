// SPDX-License-Identifier: Apache-2.0
#include "perf/replay_memory.hpp"

#include <cstring>

namespace attnrt::perf {

SharedBuffer::SharedBuffer(MeasuredDevice& device, size_t bytes)
    : device_(device), buffer_(device, bytes) {
  if (!device.host_memory()) host_.resize(bytes);
}

std::byte* SharedBuffer::host() { return device_.host_memory() ? buffer_.data() : host_.data(); }

void SharedBuffer::to_device(size_t bytes) {
  if (!device_.host_memory()) device_.copy_in(buffer_.data(), host_.data(), bytes);
}

void SharedBuffer::to_host(size_t bytes) {
  if (!device_.host_memory()) device_.copy_out(host_.data(), buffer_.data(), bytes);
}

SharedFloats::SharedFloats(MeasuredDevice& device, std::span<const float> values)
    : host_(values.begin(), values.end()) {
  if (host_.empty()) return;
  buffer_ = DeviceBuffer(device, values.size_bytes());
  device.copy_in(buffer_.data(), host_.data(), values.size_bytes());
}

std::span<const float> SharedFloats::data() const {
  return {reinterpret_cast<const float*>(buffer_.data()), host_.size()};
}

ReplayCaches::ReplayCaches(const ReplayOptions& options, MeasuredDevice& device)
    : options_(options), device_(device), layers_(static_cast<size_t>(options.layers)) {
  const int64_t pages = options.scheduling.num_pages;
  for (Layer& layer : layers_) {
    layer.k = DeviceBuffer(device, static_cast<size_t>(pages * page_bytes(k_columns())));
    layer.v = DeviceBuffer(device, static_cast<size_t>(pages * page_bytes(v_columns())));
  }
}

// Elements of a key in the memory of K and in that of V: packed16 has both in one.
int64_t ReplayCaches::k_columns() const {
  const AttentionSpec& shape = options_.model.shape();
  if (options_.layout != KvLayout::kPacked16) return int64_t{shape.num_heads_kv} * shape.head_dim;
  return packed16_bytes(options_.dtype, 1, 16, shape.num_heads_kv, shape.head_dim,
                        shape.head_dim_v) /
         16 / size_of(options_.dtype);
}

int64_t ReplayCaches::v_columns() const {
  const AttentionSpec& shape = options_.model.shape();
  const bool apart = options_.layout != KvLayout::kPacked16 && !options_.model.v_is_k_prefix;
  return apart ? int64_t{shape.num_heads_kv} * shape.head_dim_v : 0;
}

int64_t ReplayCaches::page_bytes(int64_t columns) const {
  return options_.scheduling.page_size * columns * size_of(options_.dtype);
}

KvView ReplayCaches::view(int32_t layer) const {
  const auto& [k, v] = layers_[static_cast<size_t>(layer)];
  const AttentionSpec& shape = options_.model.shape();
  const SchedulerOptions& scheduling = options_.scheduling;
  KvView view;
  if (options_.model.v_is_k_prefix) {
    view = KvView::mla(k.data(), options_.dtype, scheduling.num_pages, scheduling.page_size,
                       shape.head_dim, shape.head_dim_v);
  } else if (options_.layout == KvLayout::kPacked16) {
    view = KvView::packed16(k.data(), options_.dtype, scheduling.num_pages, scheduling.page_size,
                            shape.num_heads_kv, shape.head_dim, shape.head_dim_v);
  } else {
    view =
        KvView::paged(k.data(), v.data(), options_.dtype, options_.layout, scheduling.num_pages,
                      scheduling.page_size, shape.num_heads_kv, shape.head_dim, shape.head_dim_v);
  }
  view.device = device_.device();
  return view;
}

void ReplayCaches::touch_pages(int32_t end) {
  for (const Layer& layer : layers_) {
    if (!device_.host_memory()) break;
    const auto touch = [&](const DeviceBuffer& buffer, int64_t columns) {
      const int64_t stride = page_bytes(columns);
      std::memset(buffer.data() + touched_pages_ * stride, 0,
                  static_cast<size_t>((end - touched_pages_) * stride));
    };
    touch(layer.k, k_columns());
    if (v_columns() > 0) touch(layer.v, v_columns());
  }
  touched_pages_ = end;
}

std::span<const std::byte> ReplayCaches::touched() const {
  return {layers_.front().k.data(), static_cast<size_t>(touched_pages_ * page_bytes(k_columns()))};
}

int64_t ReplayCaches::huge_bytes() const {
  int64_t sum = 0;
  for (const Layer& layer : layers_) {
    for (const DeviceBuffer* buffer : {&layer.k, &layer.v}) {
      const int64_t bytes = device_.huge_bytes(buffer->data());
      if (bytes < 0) return -1;
      sum += bytes;
    }
  }
  return sum;
}

}  // namespace attnrt::perf
