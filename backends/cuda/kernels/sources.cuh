// SPDX-License-Identifier: Apache-2.0
// From global to shared memory: query rows, and tiles of K and V through the page table, key by
// key, so that any page size will do.
#pragma once

#include "backends/cuda/device/device.hpp"
#include "backends/cuda/kernels/params.hpp"
#include "backends/cuda/kernels/shape.hpp"

namespace attnrt::cuda {

/// Where a key lies; page -1: nowhere, zeros stand for it.
struct alignas(8) KeySource {
  int32_t page;
  int32_t offset;  // within the page; packed: the slot
};

/// The keys of a sequence that a block of threads may read.
struct KeyPlaces {
  const int32_t* pages;  // of the sequence
  int64_t first_slot;
  int32_t page_size;  // packed: 0
  int32_t begin;
  int32_t end;

  [[nodiscard]] ATTNRT_DEVICE KeySource source_of(int32_t key) const {
    if (key < begin || key >= end) return {-1, 0};
    const int64_t slot = first_slot + key;
    if (page_size == 0) return {0, static_cast<int32_t>(slot)};
    const auto at = static_cast<uint32_t>(slot);  // slots of a sequence are fewer than 2^31
    const uint32_t page = at / static_cast<uint32_t>(page_size);
    return {device::load(pages + page),
            static_cast<int32_t>(at - page * static_cast<uint32_t>(page_size))};
  }
};

/// A sequence as it is now: as planned, or with the keys and pages that the device has for it.
ATTNRT_DEVICE DeviceSequence sequence_of(const AttendParams& params, int32_t seq) {
  auto sequence = device::load(params.sequences + seq);
  if (params.page_stride != 0) sequence.first_page = seq * params.page_stride;
  if (params.seqused_k == nullptr) return sequence;
  int64_t keys = device::load(params.seqused_k + seq);
  if (params.page_size != 0) keys -= sequence.first_slot;  // left padding
  keys = keys < 0 ? 0 : keys < sequence.kv_len ? keys : sequence.kv_len;
  sequence.q_start -= sequence.kv_len - static_cast<int32_t>(keys);
  sequence.kv_len = static_cast<int32_t>(keys);
  return sequence;
}

/// Eight elements from column `column` of a row of `dim`, zeros behind its end: for rows that are
/// not aligned, or a row that does not exist.
ATTNRT_DEVICE Quad gather(const uint16_t* row, int32_t column, int32_t dim) {
  uint32_t words[4];
  ATTNRT_UNROLL
  for (int32_t i = 0; i < 4; ++i) {
    const int32_t d = column + 2 * i;
    const uint32_t low = d < dim ? device::load(row + d) : 0;
    const uint32_t high = d + 1 < dim ? device::load(row + d + 1) : 0;
    words[i] = low | high << 16;
  }
  return {words[0], words[1], words[2], words[3]};
}

/// Bytes of chunk `chunk` that a row of `dim` elements has.
ATTNRT_DEVICE uint32_t chunk_bytes(uint32_t chunk, int32_t dim) {
  const int32_t left = 2 * (dim - static_cast<int32_t>(chunk) * 8);
  return left <= 0 ? 0 : left >= 16 ? 16 : static_cast<uint32_t>(left);
}

/// A chunk into shared memory; `row` must be readable where dim > 0.
ATTNRT_DEVICE void copy_chunk(uint32_t target, const uint16_t* row, uint32_t chunk, int32_t dim,
                              bool aligned) {
  if (aligned) {
    const uint32_t bytes = chunk_bytes(chunk, dim);
    device::copy_async(target, bytes > 0 ? row + chunk * 8 : row, bytes);
  } else {
    device::shared_store(target, gather(row, static_cast<int32_t>(chunk) * 8, dim));
  }
}

/// The first `dim` columns of a tile of keys of one KV head, through the list of sources of its
/// block at `sources`.
template <class Shape>
ATTNRT_DEVICE void copy_tile(uint32_t target, const KvParams& kv, const uint16_t* head,
                             uint32_t sources, int32_t dim, bool aligned) {
  constexpr uint32_t kChunks = Shape::kChunks;
  constexpr uint32_t kEach = kBlockKeys * kChunks / Shape::kThreads;
  static_assert(kEach * Shape::kThreads == kBlockKeys * kChunks);
  ATTNRT_UNROLL
  for (uint32_t i = 0; i < kEach; ++i) {
    const uint32_t at = device::thread_index() + i * Shape::kThreads;
    const uint32_t key = at / kChunks;
    const uint32_t chunk = at % kChunks;
    const auto source = device::shared_load<KeySource>(sources + key * 8);
    const bool there = source.page >= 0;
    const uint16_t* row =
        there ? head + source.page * kv.page_stride + source.offset * kv.token_stride : head;
    copy_chunk(target + swizzled<kChunks>(key, chunk), row, chunk, there ? dim : 0, aligned);
  }
}

}  // namespace attnrt::cuda
