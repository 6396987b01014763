// SPDX-License-Identifier: Apache-2.0
// Rules about memory: shapes, strides, pointers, overlaps; shared by all calls.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "attnrt/attention.hpp"
#include "src/extent.hpp"
#include "src/refuse.hpp"
#include "src/validate.hpp"

namespace attnrt {

/// Whether rows of a tensor may share memory: they may where they are only read.
enum class Access : uint8_t { kRead, kWrite };

/// The size that an axis must have, and what it is called.
struct AxisRule {
  int64_t size;
  std::string_view what;
};

/// Shape as ruled, strides that keep an element where it belongs, memory that is there.
Status check_tensor(ArgName name, const ConstTensorView& tensor,
                    const std::array<AxisRule, 3>& rules, Access access);

/// A view that agrees with itself. kKeys: V is left out.
enum class KvParts : uint8_t { kBoth, kKeys };
Status check_kv_view(std::string_view name, const KvView& kv, Access access,
                     KvParts parts = KvParts::kBoth);

/// K of a branch: memory that stands as kv.k, of a view that was checked.
Status check_branch_keys(ArgName name, const KvView& kv, const void* k);

/// `count` elements of `dtype` at `data`: not null unless empty, and aligned.
Status check_pointer(ArgName name, const void* data, int64_t count, DType dtype);

/// Enumerators that exist, and an aligned pointer (null: no lse wanted).
Status check_lse(std::string_view name, const LseView& lse);

/// A table pair that can rotate rows of head_dim columns, or none at all.
Status check_rotary(const RotaryView& rotary, const ArgNames& names, int32_t head_dim);

Status check_same_device(std::string_view name, Device device, std::string_view other_name,
                         Device other);

/// Memory of an argument. Ranges span from the first to the last byte, gaps included.
struct NamedRange {
  ArgName name;
  ByteRange range;
};

NamedRange range_of(ArgName name, const ConstTensorView& tensor);
NamedRange range_of(ArgName name, std::span<const float> list);
std::array<NamedRange, 2> ranges_of(std::string_view name, const KvView& kv);
NamedRange branch_range(ArgName name, const KvView& kv, const void* k);
std::array<NamedRange, 2> ranges_of(const RotaryView& rotary, const ArgNames& names);

/// Refuses a written range that meets another one.
Status check_apart(const NamedRange& written, std::span<const NamedRange> others);

}  // namespace attnrt
