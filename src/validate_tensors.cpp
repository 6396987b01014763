// SPDX-License-Identifier: Apache-2.0
// Rules about memory: shapes, strides, pointers, overlaps.
#include "src/validate_tensors.hpp"

#include <algorithm>

#include "src/packed16.hpp"

namespace attnrt {
namespace {

bool known(DType dtype) noexcept { return static_cast<int>(dtype) < kDTypeCount; }

const char* device_name(Device device) noexcept { return device == Device::kCpu ? "cpu" : "cuda"; }

// One dimension outside of the innermost, contiguous one.
struct Axis {
  int64_t size;
  int64_t stride;
  std::string_view name;
};
using Axes = std::array<Axis, 3>;

// Elements from the first to behind the last one; 0 when any axis is empty, kHuge on overflow.
int64_t extent(const Axes& axes, int64_t dim) noexcept {
  int64_t elements = dim;
  for (const Axis& axis : axes) {
    if (axis.size == 0) return 0;
    if (axis.size > 1) {
      elements = capped_add(elements, capped_mul(axis.size - 1, axis.stride));
    }
  }
  return elements;
}

// Strides of empty tensors and of axes with one element are never used: any value is fine.
Status check_strides(ArgName name, Axes axes, int64_t dim, DType dtype, Access access) {
  if (extent(axes, dim) == 0) return {};
  for (const Axis& axis : axes) {
    if (axis.size > 1 && axis.stride <= 0) {
      return refuse(name, axis.name, " is ", axis.stride, ", must be positive");
    }
  }
  if (capped_mul(extent(axes, dim), size_of(dtype)) == kHuge) {
    return refuse(name, " does not fit into memory: its strides reach beyond 2^63 bytes");
  }
  if (access == Access::kRead) return {};
  // Rows are apart when each axis, in order of stride, steps over all that lies inside of it.
  std::sort(axes.begin(), axes.end(),
            [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  int64_t inner = dim;
  for (const Axis& axis : axes) {
    if (axis.size <= 1) continue;
    if (axis.stride < inner) {
      return refuse(name, axis.name, " is ", axis.stride, ", must be at least ", inner,
                    " to keep rows apart");
    }
    inner += (axis.size - 1) * axis.stride;
  }
  return {};
}

Axes tensor_axes(const ConstTensorView& tensor) noexcept {
  return {{{tensor.shape[0], tensor.strides[0], ".strides[0]"},
           {tensor.shape[1], tensor.strides[1], ".strides[1]"},
           {1, 0, {}}}};
}

struct KvHalf {
  std::string_view data_name;
  std::array<std::string_view, 3> stride_names;
  const void* data;
  const KvStrides& strides;
  int64_t dim;  // elements that stand together; packed16: a page of one head
};

int64_t together(const KvView& kv, int32_t dim) noexcept {
  return kv.layout == KvLayout::kPacked16 ? capped_mul(kv.page_size, packed16_dim(dim)) : dim;
}

KvHalf k_half(const KvView& kv) noexcept {
  return {".k",
          {".k_strides.page", ".k_strides.token", ".k_strides.head"},
          kv.k,
          kv.k_strides,
          together(kv, kv.head_dim)};
}

KvHalf v_half(const KvView& kv) noexcept {
  return {".v",
          {".v_strides.page", ".v_strides.token", ".v_strides.head"},
          kv.v,
          kv.v_strides,
          together(kv, kv.head_dim_v)};
}

Axes kv_axes(const KvView& kv, const KvHalf& half) noexcept {
  const bool packed = kv.layout == KvLayout::kPacked;
  const int64_t rows = packed ? kv.num_tokens : kv.page_size;
  return {{{packed ? 1 : kv.num_pages, half.strides.page, half.stride_names[0]},
           {kv.layout == KvLayout::kPacked16 ? 1 : rows, half.strides.token, half.stride_names[1]},
           {kv.num_heads_kv, half.strides.head, half.stride_names[2]}}};
}

Status check_half(std::string_view name, const KvView& kv, const KvHalf& half, Access access) {
  if (Status s = check_strides({name}, kv_axes(kv, half), half.dim, kv.dtype, access); !s.ok()) {
    return s;
  }
  return check_pointer({name, -1, half.data_name}, half.data, kv.num_tokens, kv.dtype);
}

NamedRange half_range(std::string_view name, const KvView& kv, const KvHalf& half) noexcept {
  const int64_t bytes = extent(kv_axes(kv, half), half.dim) * size_of(kv.dtype);
  return {{name, -1, half.data_name}, byte_range(half.data, bytes)};
}

// A page of a head begins on a line.
Status check_packed16_start(ArgName name, const KvView& kv, const void* data) {
  const uintptr_t off = reinterpret_cast<uintptr_t>(data) % uintptr_t{kPacked16Alignment};
  if (kv.num_tokens == 0 || off == 0) return {};
  return refuse(name, " is ", off, " bytes off, must be aligned to ", kPacked16Alignment,
                " with layout packed16");
}

// Whole lines.
Status check_packed16_lines(std::string_view name, const KvView& kv, const KvHalf& half) {
  if (Status s = check_packed16_start({name, -1, half.data_name}, kv, half.data); !s.ok()) return s;
  const int64_t line = kPacked16Alignment / size_of(kv.dtype);
  for (const Axis& axis : kv_axes(kv, half)) {
    if (axis.size > 1 && axis.stride % line != 0) {
      return refuse(name, axis.name, " is ", axis.stride, ", must be a multiple of ", line,
                    " (64 bytes) with layout packed16");
    }
  }
  return {};
}

// K and V lie apart, or V behind K of the same page and head.
Status check_packed16_places(std::string_view name, const KvView& kv) {
  const NamedRange k = half_range(name, kv, k_half(kv));
  const NamedRange v = half_range(name, kv, v_half(kv));
  if (!overlap(k.range, v.range)) return {};
  if (kv.num_pages > 1 && kv.v_strides.page != kv.k_strides.page) {
    return refuse(name, ".v_strides.page is ", kv.v_strides.page, ", must be ", kv.k_strides.page,
                  " (k_strides.page) where K and V share pages");
  }
  if (kv.num_heads_kv > 1 && kv.v_strides.head != kv.k_strides.head) {
    return refuse(name, ".v_strides.head is ", kv.v_strides.head, ", must be ", kv.k_strides.head,
                  " (k_strides.head) where K and V share pages");
  }
  const auto between = static_cast<int64_t>(v.range.begin - k.range.begin) / size_of(kv.dtype);
  if (v.range.begin < k.range.begin || between < k_half(kv).dim) {
    return refuse(name, ".v overlaps ", name, ".k: it must stand at least ", k_half(kv).dim,
                  " elements behind it with layout packed16");
  }
  // K and V of a page and head as one piece.
  const int64_t piece = capped_add(between, v_half(kv).dim);
  return check_strides({name}, kv_axes(kv, k_half(kv)), piece, kv.dtype, Access::kWrite);
}

Status check_packed16(std::string_view name, const KvView& kv, KvParts parts) {
  if (kv.v_is_k_prefix) {
    return refuse(name, ".v_is_k_prefix is set with layout packed16, which stores V apart from K");
  }
  for (const KvHalf& half : {k_half(kv), v_half(kv)}) {
    if (parts == KvParts::kKeys && half.data_name == ".v") continue;
    // As where it is written: pages of heads that share memory could not have been filled.
    if (Status s = check_half(name, kv, half, Access::kWrite); !s.ok()) return s;
    if (Status s = check_packed16_lines(name, kv, half); !s.ok()) return s;
  }
  return parts == KvParts::kKeys ? Status() : check_packed16_places(name, kv);
}

Status check_kv_pages(std::string_view name, const KvView& kv) {
  if (kv.layout > KvLayout::kPacked16) {
    return refuse(name, ".layout is ", static_cast<int>(kv.layout), ", not a KvLayout");
  }
  if (kv.layout == KvLayout::kPacked) {
    if (kv.page_size != 0) {
      return refuse(name, ".page_size is ", kv.page_size, ", must be 0 with layout packed");
    }
    if (kv.num_pages != 0) {
      return refuse(name, ".num_pages is ", kv.num_pages, ", must be 0 with layout packed");
    }
    if (kv.num_tokens < 0) {
      return refuse(name, ".num_tokens is ", kv.num_tokens, ", must not be negative");
    }
    return {};
  }
  if (kv.page_size <= 0) {
    return refuse(name, ".page_size is ", kv.page_size, ", must be positive with layout ",
                  to_string(kv.layout));
  }
  if (kv.layout == KvLayout::kPacked16 && kv.page_size % kPacked16Keys != 0) {
    return refuse(name, ".page_size is ", kv.page_size, ", must be a multiple of ", kPacked16Keys,
                  " with layout packed16");
  }
  if (kv.num_pages < 0) {
    return refuse(name, ".num_pages is ", kv.num_pages, ", must not be negative");
  }
  const int64_t tokens = capped_mul(kv.num_pages, kv.page_size);
  if (kv.num_tokens != tokens) {
    return refuse(name, ".num_tokens is ", kv.num_tokens, ", must be ", tokens, " (", kv.num_pages,
                  " pages of ", kv.page_size, ")");
  }
  return {};
}

}  // namespace

Status check_pointer(ArgName name, const void* data, int64_t count, DType dtype) {
  if (count == 0) return {};
  if (data == nullptr) return refuse(name, " is null");
  const auto alignment = static_cast<uintptr_t>(size_of(dtype));
  const uintptr_t off = reinterpret_cast<uintptr_t>(data) % alignment;
  if (off == 0) return {};
  return refuse(name, " is ", off, " bytes off, must be aligned to ", alignment, " (",
                to_string(dtype), ")");
}

Status check_tensor(ArgName name, const ConstTensorView& tensor,
                    const std::array<AxisRule, 3>& rules, Access access) {
  if (!known(tensor.dtype)) {
    return refuse(name, ".dtype is ", static_cast<int>(tensor.dtype), ", not a DType");
  }
  for (size_t axis = 0; axis < 3; ++axis) {
    if (tensor.shape[axis] != rules[axis].size) {
      return refuse(name, ".shape[", axis, "] is ", tensor.shape[axis], ", must be ",
                    rules[axis].size, " (", rules[axis].what, ")");
    }
  }
  if (tensor.strides[2] != 1) {
    return refuse(name, ".strides[2] is ", tensor.strides[2], ", must be 1");
  }
  const Axes axes = tensor_axes(tensor);
  if (Status s = check_strides(name, axes, tensor.shape[2], tensor.dtype, access); !s.ok()) {
    return s;
  }
  return check_pointer({name.text, name.index, name.tail.empty() ? ".data" : name.tail},
                       tensor.data, extent(axes, tensor.shape[2]), tensor.dtype);
}

Status check_kv_view(std::string_view name, const KvView& kv, Access access, KvParts parts) {
  if (!known(kv.dtype)) {
    return refuse(name, ".dtype is ", static_cast<int>(kv.dtype), ", not a DType");
  }
  if (Status s = check_kv_pages(name, kv); !s.ok()) return s;
  if (kv.num_heads_kv <= 0) {
    return refuse(name, ".num_heads_kv is ", kv.num_heads_kv, ", must be positive");
  }
  if (kv.head_dim <= 0) return refuse(name, ".head_dim is ", kv.head_dim, ", must be positive");
  if (kv.head_dim_v <= 0) {
    return refuse(name, ".head_dim_v is ", kv.head_dim_v, ", must be positive");
  }
  if (kv.layout == KvLayout::kPacked16) return check_packed16(name, kv, parts);
  if (Status s = check_half(name, kv, k_half(kv), access); !s.ok()) return s;
  if (parts == KvParts::kKeys) return {};
  if (!kv.v_is_k_prefix) return check_half(name, kv, v_half(kv), access);
  if (kv.head_dim_v > kv.head_dim) {
    return refuse(name, ".head_dim_v is ", kv.head_dim_v, ", must be at most ", kv.head_dim,
                  " (head_dim) with v_is_k_prefix");
  }
  return {};
}

Status check_branch_keys(ArgName name, const KvView& kv, const void* k) {
  if (Status s = check_pointer(name, k, kv.num_tokens, kv.dtype); !s.ok()) return s;
  return kv.layout == KvLayout::kPacked16 ? check_packed16_start(name, kv, k) : Status();
}

Status check_lse(std::string_view name, const LseView& lse) {
  if (lse.base > LseBase::kTwo) {
    return refuse(name, ".base is ", static_cast<int>(lse.base), ", not an LseBase");
  }
  if (lse.order > LseOrder::kTokensFirst) {
    return refuse(name, ".order is ", static_cast<int>(lse.order), ", not an LseOrder");
  }
  if (lse.empty > LseEmpty::kPlusInf) {
    return refuse(name, ".empty is ", static_cast<int>(lse.empty), ", not an LseEmpty");
  }
  return check_pointer({name, -1, ".data"}, lse.data, lse.data == nullptr ? 0 : 1, DType::kF32);
}

Status check_rotary(const RotaryView& rotary, const ArgNames& names, int32_t head_dim) {
  if (rotary.cos == nullptr && rotary.sin == nullptr) return {};
  if (rotary.sin == nullptr) {
    return refuse(names.rotary_cos, " is given without ", names.rotary_sin);
  }
  if (rotary.cos == nullptr) {
    return refuse(names.rotary_sin, " is given without ", names.rotary_cos);
  }
  if (!known(rotary.dtype)) {
    return refuse(names.rotary_dtype, " is ", static_cast<int>(rotary.dtype), ", not a DType");
  }
  if (Status s = check_pointer({names.rotary_cos}, rotary.cos, 1, rotary.dtype); !s.ok()) return s;
  if (Status s = check_pointer({names.rotary_sin}, rotary.sin, 1, rotary.dtype); !s.ok()) return s;
  if (rotary.rotary_dim <= 0 || rotary.rotary_dim % 2 != 0 || rotary.rotary_dim > head_dim) {
    return refuse(names.rotary_dim, " is ", rotary.rotary_dim, ", must be even and 2..", head_dim,
                  " (head_dim)");
  }
  if (rotary.max_position < 0) {
    return refuse(names.rotary_limit, " is ", rotary.max_position, ", must not be negative");
  }
  return {};
}

Status check_same_device(std::string_view name, Device device, std::string_view other_name,
                         Device other) {
  if (device == other && device <= Device::kCuda) return {};
  if (device > Device::kCuda) {
    return refuse(name, ".device is ", static_cast<int>(device), ", not a Device");
  }
  return refuse(name, ".device is ", device_name(device), ", ", other_name, ".device is ",
                device_name(other));
}

NamedRange range_of(ArgName name, const ConstTensorView& tensor) {
  const int64_t bytes = extent(tensor_axes(tensor), tensor.shape[2]) * size_of(tensor.dtype);
  return {name, byte_range(tensor.data, bytes)};
}

NamedRange range_of(ArgName name, std::span<const float> list) {
  return {name, byte_range(list.data(), static_cast<int64_t>(list.size_bytes()))};
}

std::array<NamedRange, 2> ranges_of(std::string_view name, const KvView& kv) {
  const NamedRange k = half_range(name, kv, k_half(kv));
  return {k, kv.v_is_k_prefix ? k : half_range(name, kv, v_half(kv))};
}

NamedRange branch_range(ArgName name, const KvView& kv, const void* k) {
  const int64_t bytes = extent(kv_axes(kv, k_half(kv)), k_half(kv).dim) * size_of(kv.dtype);
  return {name, byte_range(k, bytes)};
}

std::array<NamedRange, 2> ranges_of(const RotaryView& rotary, const ArgNames& names) {
  const int64_t bytes =
      rotary.cos == nullptr
          ? 0
          : capped_mul(int64_t{rotary.max_position}, rotary.rotary_dim / 2) * size_of(rotary.dtype);
  return {NamedRange{{names.rotary_cos}, byte_range(rotary.cos, bytes)},
          NamedRange{{names.rotary_sin}, byte_range(rotary.sin, bytes)}};
}

Status check_apart(const NamedRange& written, std::span<const NamedRange> others) {
  for (const NamedRange& other : others) {
    if (overlap(written.range, other.range)) {
      return refuse(written.name, " overlaps ", other.name);
    }
  }
  return {};
}

}  // namespace attnrt
