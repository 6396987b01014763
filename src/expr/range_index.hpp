// SPDX-License-Identifier: Apache-2.0
// Smallest and largest element of any part of a captured buffer, in time that does not grow with
// the part. What lets the classifier see through doc[q] == doc[kv].
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "src/expr/abstract_value.hpp"
#include "src/expr/program.hpp"

namespace attnrt::expr {

/// One dimension's indices, both ends included, before clamping.
struct IndexRange {
  int64_t low = 0;
  int64_t high = 0;
};

/// Borrows the buffer. A buffer whose lines (rows of its last dimension) all ascend, or all
/// descend, needs no memory; else blocks of 64 elements are summarised, and blocks by a sparse
/// table: 1.7 MB for 2^20 elements.
class RangeIndex {
 public:
  explicit RangeIndex(const BoundSlot& slot, bool known_sorted = false);

  /// Elements of a buffer of rank 1 may have changed from number `first` on. Costs those elements
  /// and a summary of each block; everything where they break an order that there was.
  void refresh(int64_t first);

  [[nodiscard]] bool ascending() const { return order_ == Order::kAscending; }

  /// Everything the elements [index[0]] x [index[1]] .. can be, as the node kLoad has it.
  void query(std::span<const IndexRange> index, AbstractValue& out) const;

  [[nodiscard]] int64_t memory_bytes() const;

 private:
  enum class Order : uint8_t { kNone, kAscending, kDescending };

  struct Extremes {  // floats are kept as floats; int32 fits a double as well as a float does
    double low = std::numeric_limits<double>::infinity();
    double high = -std::numeric_limits<double>::infinity();
    void take(Extremes other);
  };

  template <class Element>
  void build(bool known_sorted);
  template <class Element>
  [[nodiscard]] bool still_in_order(int64_t first) const;
  template <class Element>
  void summarise(int64_t line, int64_t first);
  template <class Element>
  [[nodiscard]] Extremes scan(int64_t begin, int64_t stride, int64_t count) const;
  template <class Element>
  [[nodiscard]] Extremes of_line(int64_t line, int64_t low, int64_t high) const;
  template <class Element>
  [[nodiscard]] Extremes of_box(std::span<const IndexRange> index) const;
  [[nodiscard]] int64_t line_offset(int64_t line) const;
  void write(Extremes extremes, AbstractValue& out) const;

  struct Pair {
    float low = 0;
    float high = 0;
  };

  BoundSlot slot_;
  Order order_ = Order::kNone;
  bool has_nan_ = false;
  int64_t lines_ = 1;
  int64_t length_ = 0;  // of a line
  int64_t blocks_ = 0;  // of a line
  Extremes all_;
  std::vector<int64_t> level_begin_;  // of summaries_, within a line
  int64_t line_summaries_ = 0;
  std::vector<Pair> summaries_;  // rounded outwards where an int32 is no float
};

}  // namespace attnrt::expr
