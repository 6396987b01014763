// SPDX-License-Identifier: Apache-2.0
// The rows of a block of threads: which query token and head each is, and which keys it sees.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/expression.cuh"
#include "backends/cuda/kernels/params.hpp"
#include "backends/cuda/kernels/rotary.cuh"
#include "backends/cuda/kernels/sources.cuh"

namespace attnrt::cuda {

struct Row {
  int32_t token;  // within the sequence
  uint32_t head;  // of q
  bool exists;
};

/// Keys [begin, end) of a row; none where end <= begin.
struct KeyInterval {
  int32_t begin;
  int32_t end;
};

class Rows {
 public:
  int32_t key_begin;  // keys that some row sees, within the unit's splits
  int32_t key_end;

  ATTNRT_DEVICE Rows(const AttendParams& params, const DeviceUnit& unit,
                     const DeviceSequence& sequence, uint32_t kv_head)
      : unit_(unit),
        sequence_(sequence),
        kv_head_(static_cast<int32_t>(kv_head)),
        first_head_(kv_head * static_cast<uint32_t>(params.group)) {
    const auto group = static_cast<uint32_t>(params.group);
    const uint32_t first = static_cast<uint32_t>(unit.row_begin) / group;
    const uint32_t last = (static_cast<uint32_t>(unit.row_end) - 1) / group;
    first_ = keys_of(params, unit.token_begin + static_cast<int32_t>(first));
    last_ = keys_of(params, unit.token_begin + static_cast<int32_t>(last));
    key_begin = first_.begin > unit.key_begin ? first_.begin : unit.key_begin;
    key_end = last_.end < unit.key_end ? last_.end : unit.key_end;
  }

  /// Row `r` of the block.
  [[nodiscard]] ATTNRT_DEVICE Row row(const AttendParams& params, uint32_t r) const {
    const uint32_t at = static_cast<uint32_t>(unit_.row_begin) + r;
    const auto group = static_cast<uint32_t>(params.group);
    const uint32_t token = at / group;
    return {unit_.token_begin + static_cast<int32_t>(token), first_head_ + at - token * group,
            at < static_cast<uint32_t>(unit_.row_end)};
  }

  /// Row `r`, or the last one that exists.
  [[nodiscard]] ATTNRT_DEVICE Row last_row(const AttendParams& params, uint32_t r) const {
    const auto rows = static_cast<uint32_t>(unit_.row_end - unit_.row_begin);
    return row(params, r < rows ? r : rows - 1);
  }

  /// Where this sequence's slopes begin.
  [[nodiscard]] ATTNRT_DEVICE int64_t alibi_row(const AttendParams& params) const {
    return unit_.seq * params.alibi_stride;
  }

  /// What an expression is asked about in this row, but for the key.
  [[nodiscard]] ATTNRT_DEVICE ExprPoint point(const Row& row) const {
    return {position(row.token),
            0,
            unit_.seq,
            static_cast<int32_t>(row.head),
            kv_head_,
            sequence_.q_len,
            sequence_.kv_len};
  }

  [[nodiscard]] ATTNRT_DEVICE int64_t position(int32_t token) const {
    return int64_t{sequence_.q_start} + token;
  }

  [[nodiscard]] ATTNRT_DEVICE KeyInterval keys_of(const AttendParams& params, int32_t token) const {
    const int64_t p = position(token);
    const int64_t kv_len = sequence_.kv_len;
    const int64_t begin = params.window_left < 0 ? 0 : p - params.window_left;
    const int64_t end = params.window_right < 0 ? kv_len : p + params.window_right + 1;
    return {clamped(begin, kv_len), clamped(end, kv_len)};
  }

  /// All rows see all of the 64 keys from `first_key` on.
  [[nodiscard]] ATTNRT_DEVICE bool all_visible(int32_t first_key) const {
    return last_.begin <= first_key && first_.end >= first_key + kBlockKeys;
  }

  /// A key of the 64 from `first_key` on that is read for one row is not visible to another.
  [[nodiscard]] ATTNRT_DEVICE bool some_row_misses_a_key(int32_t first_key) const {
    const int32_t begin = first_key > key_begin ? first_key : key_begin;
    const int32_t block_end = first_key + kBlockKeys;
    const int32_t end = block_end < key_end ? block_end : key_end;
    return last_.begin > begin || first_.end < end;
  }

  /// Into shared memory at `target`, rotated if asked for, zeros for rows that do not exist.
  template <class T, class Shape>
  ATTNRT_DEVICE void copy_queries(const AttendParams& params, uint32_t target) const {
    constexpr uint32_t kChunks = Shape::kChunks;
    ATTNRT_UNROLL
    for (uint32_t at = device::thread_index(); at < Shape::kRows * kChunks; at += Shape::kThreads) {
      const Row one = row(params, at / kChunks);
      const uint32_t chunk = at % kChunks;
      if (one.exists && static_cast<int32_t>(chunk * 8) < params.rotary.dim) continue;
      const uint16_t* source = one.exists ? query(params, one) : params.q;
      copy_chunk(target + swizzled<kChunks>(at / kChunks, chunk), source, chunk,
                 one.exists ? params.head_dim : 0, params.aligned != 0);
    }
    rotate_queries<T, Shape>(params, target);
  }

 private:
  [[nodiscard]] ATTNRT_DEVICE const uint16_t* query(const AttendParams& params,
                                                    const Row& one) const {
    return params.q + (int64_t{sequence_.q_begin} + one.token) * params.q_token_stride +
           one.head * params.q_head_stride;
  }

  // The chunks that have elements to rotate. Not unrolled: it happens once, and registers are few.
  template <class T, class Shape>
  ATTNRT_DEVICE void rotate_queries(const AttendParams& params, uint32_t target) const {
    const uint32_t chunks = (static_cast<uint32_t>(params.rotary.dim) + 7) / 8;
    ATTNRT_NO_UNROLL
    for (uint32_t at = device::thread_index(); at < Shape::kRows * chunks; at += Shape::kThreads) {
      const uint32_t r = at / chunks;
      const uint32_t chunk = at - r * chunks;
      const Row one = row(params, r);
      if (!one.exists) continue;
      int64_t place = position(params.rotary.constant != 0 ? 0 : one.token);
      if (place < 0) place = 0;  // only where the device has fewer keys than rows
      device::shared_store(target + swizzled<Shape::kChunks>(r, chunk),
                           rotated_chunk<T, Shape>(params, query(params, one), chunk, place));
    }
  }

  // Rounded to the type that products take, as if it had been rotated in memory before the call.
  template <class T, class Shape>
  static ATTNRT_DEVICE Quad rotated_chunk(const AttendParams& params, const uint16_t* row,
                                          uint32_t chunk, int64_t position) {
    const auto element = [&](int32_t d) { return device::unpack_low<T>(device::load(row + d)); };
    uint32_t words[4];
    ATTNRT_UNROLL
    for (int32_t i = 0; i < 4; ++i) {
      const int32_t d = static_cast<int32_t>(chunk) * 8 + 2 * i;
      const bool has_low = d < params.head_dim;
      const bool has_high = d + 1 < params.head_dim;
      words[i] =
          device::pack<T>(has_low ? rotated(params.rotary, position, d, element) : 0.0f,
                          has_high ? rotated(params.rotary, position, d + 1, element) : 0.0f);
    }
    return {words[0], words[1], words[2], words[3]};
  }

  static ATTNRT_DEVICE int32_t clamped(int64_t key, int64_t kv_len) {
    return static_cast<int32_t>(key < 0 ? 0 : key > kv_len ? kv_len : key);
  }

  DeviceUnit unit_;
  DeviceSequence sequence_;
  int32_t kv_head_;
  uint32_t first_head_;
  KeyInterval first_;  // of the first row; both ends grow from row to row
  KeyInterval last_;
};

}  // namespace attnrt::cuda
