// SPDX-License-Identifier: Apache-2.0
#include "src/expr/range_index.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <type_traits>

namespace attnrt::expr {
namespace {

constexpr int64_t kBlock = 64;

// A box of more lines than this is not looked into: it is summed up by the whole buffer.
constexpr int64_t kMaxLines = 4096;

struct Bf16 {
  uint16_t raw;
};
struct Bool {
  uint8_t raw;
};

template <class Element>
auto number(Element element) {
  if constexpr (std::is_same_v<Element, Bf16>) {
    return std::bit_cast<float>(static_cast<uint32_t>(element.raw) << 16);
  } else if constexpr (std::is_same_v<Element, Bool>) {
    return static_cast<int32_t>(element.raw != 0);
  } else if constexpr (std::is_same_v<Element, float>) {
    return element;
  } else {
    return static_cast<int32_t>(element);
  }
}

template <class Element>
using Number = decltype(number(Element{}));

float float_below(double x) {
  const float f = static_cast<float>(x);
  return static_cast<double>(f) > x ? std::nextafter(f, -std::numeric_limits<float>::infinity())
                                    : f;
}

float float_above(double x) {
  const float f = static_cast<float>(x);
  return static_cast<double>(f) < x ? std::nextafter(f, std::numeric_limits<float>::infinity()) : f;
}

template <class Function>
auto with_element(ElementType type, const Function& function) {
  switch (type) {
    case ElementType::kI8:
      return function(int8_t{});
    case ElementType::kBool:
      return function(Bool{});
    case ElementType::kF32:
      return function(float{});
    case ElementType::kBF16:
      return function(Bf16{});
    default:
      return function(int32_t{});
  }
}

// Whether elements [0, count) never step down (or up), looked at without leaving the loop early so
// that it vectorises. A NaN is in no order.
template <class Element>
std::array<bool, 2> orders_of(const Element* data, int64_t stride, int64_t count) {
  constexpr int64_t kChunk = 1024;
  std::array<bool, 2> in_order{true, true};
  for (int64_t begin = 0; begin + 1 < count && (in_order[0] || in_order[1]); begin += kChunk) {
    const int64_t end = std::min(count - 1, begin + kChunk);
    int down = 0;
    int up = 0;
    for (int64_t i = begin; i < end; ++i) {
      const auto x = number(data[i * stride]);
      const auto y = number(data[(i + 1) * stride]);
      down |= static_cast<int>(!(x <= y));
      up |= static_cast<int>(!(x >= y));
    }
    in_order[0] = in_order[0] && down == 0;
    in_order[1] = in_order[1] && up == 0;
  }
  if (count == 1 && !(number(data[0]) == number(data[0]))) in_order = {false, false};
  return in_order;
}

}  // namespace

void RangeIndex::Extremes::take(Extremes other) {
  low = std::min(low, other.low);
  high = std::max(high, other.high);
}

RangeIndex::RangeIndex(const BoundSlot& slot, bool known_sorted) : slot_(slot) {
  length_ = slot.shape[static_cast<size_t>(slot.rank - 1)];
  for (int32_t d = 0; d + 1 < slot.rank; ++d) lines_ *= slot.shape[static_cast<size_t>(d)];
  blocks_ = (length_ + kBlock - 1) / kBlock;
  with_element(slot.element, [&](auto element) { build<decltype(element)>(known_sorted); });
}

int64_t RangeIndex::memory_bytes() const {
  return static_cast<int64_t>(summaries_.capacity() * sizeof(Pair));
}

int64_t RangeIndex::line_offset(int64_t line) const {
  int64_t offset = 0;
  for (int32_t d = slot_.rank - 2; d >= 0; --d) {
    const auto dim = static_cast<size_t>(d);
    offset += (line % slot_.shape[dim]) * slot_.strides[dim];
    line /= slot_.shape[dim];
  }
  return offset;
}

template <class Element>
void RangeIndex::build(bool known_sorted) {
  const Element* data = static_cast<const Element*>(slot_.data);
  const int64_t stride = slot_.strides[static_cast<size_t>(slot_.rank - 1)];
  std::array<bool, 2> in_order{true, !known_sorted};
  for (int64_t line = 0; line < lines_ && !known_sorted && (in_order[0] || in_order[1]); ++line) {
    const auto of_line = orders_of(data + line_offset(line), stride, length_);
    in_order = {in_order[0] && of_line[0], in_order[1] && of_line[1]};
  }
  if (in_order[0] || in_order[1]) {
    order_ = in_order[0] ? Order::kAscending : Order::kDescending;
    for (int64_t line = 0; line < lines_; ++line) all_.take(of_line<Element>(line, 0, length_ - 1));
    return;
  }
  for (int64_t width = 1; width <= blocks_; width *= 2) {
    level_begin_.push_back(line_summaries_);
    line_summaries_ += blocks_ - width + 1;
  }
  summaries_.resize(static_cast<size_t>(lines_ * line_summaries_));
  for (int64_t line = 0; line < lines_; ++line) summarise<Element>(line, 0);
}

// Of a line: its blocks from that of element `first` on, and all summaries that they are part of.
template <class Element>
void RangeIndex::summarise(int64_t line, int64_t first) {
  const Element* data = static_cast<const Element*>(slot_.data) + line_offset(line);
  const int64_t stride = slot_.strides[static_cast<size_t>(slot_.rank - 1)];
  Pair* out = summaries_.data() + line * line_summaries_;
  const int64_t first_block = first / kBlock;
  for (int64_t block = first_block; block < blocks_; ++block) {
    const int64_t begin = block * kBlock;
    const Extremes extremes = scan<Element>(line_offset(line) + begin * stride, stride,
                                            std::min(kBlock, length_ - begin));
    all_.take(extremes);
    out[block] = {float_below(extremes.low), float_above(extremes.high)};
  }
  for (size_t level = 1; level < level_begin_.size(); ++level) {
    const int64_t half = int64_t{1} << (level - 1);
    const Pair* below = out + level_begin_[level - 1];
    Pair* here = out + level_begin_[level];
    for (int64_t i = std::max<int64_t>(0, first_block - 2 * half + 1); i + 2 * half <= blocks_;
         ++i) {
      here[i] = {std::min(below[i].low, below[i + half].low),
                 std::max(below[i].high, below[i + half].high)};
    }
  }
  if constexpr (std::is_same_v<Number<Element>, float>) {
    for (int64_t i = first; i < length_ && !has_nan_; ++i) {
      has_nan_ = std::isnan(number(data[i * stride]));
    }
  }
}

template <class Element>
bool RangeIndex::still_in_order(int64_t first) const {
  const int64_t before = std::max<int64_t>(0, first - 1);
  const auto* data = static_cast<const Element*>(slot_.data);
  const auto orders =
      orders_of(data + before * slot_.strides[0], slot_.strides[0], length_ - before);
  return orders[order_ == Order::kAscending ? 0 : 1];
}

void RangeIndex::refresh(int64_t first) {
  assert(slot_.rank == 1);
  if (first >= length_) return;
  with_element(slot_.element, [&](auto element) {
    using Element = decltype(element);
    if (order_ == Order::kNone) {
      summarise<Element>(0, first);
    } else if (still_in_order<Element>(first)) {
      all_.take(of_line<Element>(0, 0, length_ - 1));
    } else {
      *this = RangeIndex(slot_);
    }
  });
}

template <class Element>
RangeIndex::Extremes RangeIndex::scan(int64_t begin, int64_t stride, int64_t count) const {
  const Element* data = static_cast<const Element*>(slot_.data) + begin;
  using Value = Number<Element>;
  Value low = std::is_same_v<Value, float> ? std::numeric_limits<Value>::infinity()
                                           : std::numeric_limits<Value>::max();
  Value high = std::is_same_v<Value, float> ? -std::numeric_limits<Value>::infinity()
                                            : std::numeric_limits<Value>::lowest();
  // Written so that NaN is left out. The common stride is a constant, for the vectoriser.
  const auto take = [&](Value x) {
    low = x < low ? x : low;
    high = x > high ? x : high;
  };
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) take(number(data[i]));
  } else {
    for (int64_t i = 0; i < count; ++i) take(number(data[i * stride]));
  }
  return {static_cast<double>(low), static_cast<double>(high)};
}

template <class Element>
RangeIndex::Extremes RangeIndex::of_line(int64_t line, int64_t low, int64_t high) const {
  const Element* data = static_cast<const Element*>(slot_.data);
  const int64_t stride = slot_.strides[static_cast<size_t>(slot_.rank - 1)];
  const int64_t offset = line_offset(line);
  if (order_ != Order::kNone || low == high) {
    const auto first = static_cast<double>(number(data[offset + low * stride]));
    const auto last = static_cast<double>(number(data[offset + high * stride]));
    Extremes ends;
    if (!std::isnan(first)) ends = {first, first};
    if (!std::isnan(last)) ends.take({last, last});
    return ends;
  }
  const int64_t first_block = (low + kBlock - 1) / kBlock;
  const int64_t end_block = (high + 1) / kBlock;
  if (first_block >= end_block) {
    return scan<Element>(offset + low * stride, stride, high - low + 1);
  }
  Extremes out = scan<Element>(offset + low * stride, stride, first_block * kBlock - low);
  out.take(
      scan<Element>(offset + end_block * kBlock * stride, stride, high + 1 - end_block * kBlock));
  const auto count = static_cast<uint64_t>(end_block - first_block);
  const int level = static_cast<int>(std::bit_width(count)) - 1;
  const Pair* pairs =
      summaries_.data() + line * line_summaries_ + level_begin_[static_cast<size_t>(level)];
  for (const int64_t block : {first_block, end_block - (int64_t{1} << level)}) {
    out.take({static_cast<double>(pairs[block].low), static_cast<double>(pairs[block].high)});
  }
  return out;
}

template <class Element>
RangeIndex::Extremes RangeIndex::of_box(std::span<const IndexRange> index) const {
  std::array<IndexRange, 4> clamped{};
  int64_t lines = 1;
  for (size_t d = 0; d < index.size(); ++d) {
    clamped[d].low = std::clamp<int64_t>(index[d].low, 0, slot_.shape[d] - 1);
    clamped[d].high = std::clamp<int64_t>(index[d].high, 0, slot_.shape[d] - 1);
    if (d + 1 < index.size()) lines *= clamped[d].high - clamped[d].low + 1;
  }
  if (lines > kMaxLines) return all_;
  Extremes out;
  const IndexRange last = clamped[index.size() - 1];
  for (int64_t i = 0; i < lines; ++i) {
    // The i-th line of the box, as a number among all lines of the buffer.
    int64_t line = 0;
    int64_t scale = 1;
    int64_t rest = i;
    for (int32_t d = slot_.rank - 2; d >= 0; --d) {
      const auto dim = static_cast<size_t>(d);
      const int64_t extent = clamped[dim].high - clamped[dim].low + 1;
      line += (clamped[dim].low + rest % extent) * scale;
      rest /= extent;
      scale *= slot_.shape[dim];
    }
    out.take(of_line<Element>(line, last.low, last.high));
    if (out.low <= all_.low && out.high >= all_.high) break;
  }
  return out;
}

void RangeIndex::write(Extremes extremes, AbstractValue& out) const {
  if (slot_.element == ElementType::kF32 || slot_.element == ElementType::kBF16) {
    const bool only_nan = extremes.low > extremes.high;
    out.float_low =
        only_nan ? -std::numeric_limits<float>::infinity() : static_cast<float>(extremes.low);
    out.float_high =
        only_nan ? std::numeric_limits<float>::infinity() : static_cast<float>(extremes.high);
    out.nan = has_nan_ || only_nan;
    return;
  }
  out.low = static_cast<int64_t>(extremes.low);
  out.high = static_cast<int64_t>(extremes.high);
  out.truth = truth_of(out.high > 0, out.low < 1);
}

void RangeIndex::query(std::span<const IndexRange> index, AbstractValue& out) const {
  with_element(slot_.element, [&](auto element) {
    using Element = decltype(element);
    if (index.size() > 1) {
      write(of_box<Element>(index), out);
      return;
    }
    const int64_t low = std::clamp<int64_t>(index[0].low, 0, length_ - 1);
    const int64_t high = std::clamp<int64_t>(index[0].high, 0, length_ - 1);
    write(of_line<Element>(0, low, high), out);
  });
}

}  // namespace attnrt::expr
