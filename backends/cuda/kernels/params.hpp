// SPDX-License-Identifier: Apache-2.0
// What kernels are told. Plain data: the same bytes on the host and on the device.
#pragma once

#include <cstdint>

namespace attnrt::cuda {

/// Keys are taken in blocks of this many, counted from key 0 of their sequence.
inline constexpr int32_t kBlockKeys = 64;
/// Blocks of a split (kSplitKeys).
inline constexpr int32_t kSplitBlocks = 8;

/// A sequence, as planned.
struct DeviceSequence {
  int32_t q_begin;  // first row of q
  int32_t kv_len;
  int32_t q_start;
  int32_t first_page;  // where its pages begin in the list of all; packed: unused
  int64_t first_slot;  // slot of key 0
  int32_t q_len;
  int32_t unused;
};

/// What a block of threads computes, once for every KV head: rows [row_begin, row_end) of a tile
/// over consecutive splits. A row is a query token and a head of the group: token * group + head.
struct DeviceUnit {
  int32_t seq;
  int32_t token_begin;  // of the tile, within the sequence
  int32_t row_begin;    // within the tile
  int32_t row_end;
  int32_t split_begin;
  int32_t split_end;
  int32_t key_begin;  // of the tile, clipped to these splits
  int32_t key_end;
  int64_t state_token;    // place of split 0's states in (split, token) pairs; it may be negative
  int32_t state_stride;   // pairs from split to split
  int32_t stores_states;  // for a merge; else the unit has all splits, and writes results
  int32_t kv_head_begin;  // of the tile, whose KV heads are counted from here
  int32_t run_begin;      // the tile's runs; only with a mask
  int32_t run_end;
  int32_t unused;
};

/// Blocks of keys [begin, end) that rows of a tile see some of, apart and in order.
struct DeviceRun {
  int32_t begin;
  int32_t end;
  int32_t before;     // blocks of the tile's runs before this one
  int32_t undecided;  // the mask has to be asked; else only windows decide
};

/// A slot of an expression with its value. Strides are in elements.
struct DeviceSlot {
  const void* data;
  int64_t int_value;
  int64_t shape[4];
  int64_t strides[4];
  float float_value;
  int32_t unused;
};

/// A tile whose splits were computed apart: its states begin at `state_token`.
struct DeviceMerge {
  int32_t first_row;  // of q and out
  int32_t tokens;
  int32_t num_splits;
  int32_t head_begin;  // of q
  int64_t state_token;
  int32_t head_end;
  int32_t unused;
};

enum class Element : int32_t { kFloat, kBFloat16, kHalf };  // as DType

/// Where results go. Pointers may be null where a call has no such thing.
struct OutputParams {
  void* out;
  int64_t token_stride;
  int64_t head_stride;
  float* lse;
  const float* sinks;  // (Hq)
  Element element;
  int32_t total_q;
  int32_t heads_q;
  int32_t head_dim_v;
  int32_t pairs;  // two elements of a row may be written as one
  int32_t lse_base_two;
  int32_t lse_tokens_first;
  int32_t lse_empty_plus;
};

/// Unmerged states: sum of exp(score - ref), and that weighted with V.
struct StateParams {
  float* acc;  // [.., heads_q, head_dim_v]
  float* ref;  // [.., heads_q], natural
  float* sum;
};

struct KvParams {
  const uint16_t* data;
  int64_t page_stride;  // packed: 0
  int64_t token_stride;
  int64_t head_stride;
};

/// Rotation of rows of q or K: row p of the tables is for position p.
struct RotaryParams {
  const void* cos;
  const void* sin;
  Element element;
  int32_t dim;  // 0: no rotation
  int32_t interleaved;
  int32_t constant;  // all rows of a sequence at its q_start
};

struct AttendParams {
  const DeviceSequence* sequences;
  const DeviceUnit* units;
  const int32_t* pages;
  const uint16_t* q;
  int64_t q_token_stride;
  int64_t q_head_stride;
  KvParams k;
  KvParams v;
  OutputParams output;
  StateParams states;
  RotaryParams rotary;  // of q
  const float* alibi;   // (Hq) or (batch, Hq)
  int64_t alibi_stride;
  int32_t page_size;  // packed: 0
  int32_t group;
  uint32_t heads_kv;  // of a unit
  int32_t head_dim;
  int32_t window_left;
  int32_t window_right;
  int32_t aligned;           // q, K and V can be read 16 bytes at a time
  int32_t callers_states;    // states of all units go to (split, total_q) places
  float scale_log2;          // scale * log2(e); with softcap: scale / softcap
  float softcap_log2;        // softcap * log2(e); 0: none. A score expression takes both without
                             // log2(e), which its result is multiplied with
  const DeviceRun* runs;     // of all tiles; only with a mask
  const int32_t* seqused_k;  // in place of the plan's lengths; null: those
  int32_t page_stride;       // pages are the device's own table, with rows of this; 0: the plan's
};

/// States that merge_rows folds one after the other.
struct MergeParams {
  static constexpr int32_t kMaxSources = 8;
  const DeviceMerge* tiles;  // null: one tile of all rows
  StateParams sources[kMaxSources];
  int32_t num_splits[kMaxSources];  // where `tiles` is null
  int32_t num_sources;
  OutputParams output;
};

/// Finished results that merge_finished folds.
struct MergeFinishedParams {
  static constexpr int32_t kMaxSources = 8;
  struct Source {
    const void* out;
    int64_t token_stride;
    int64_t head_stride;
    const float* lse;  // (Hq, total_q), natural
    Element element;
    int32_t unused;
  };
  Source sources[kMaxSources];
  int32_t num_sources;
  OutputParams output;
};

/// Where a new token goes.
struct DevicePlace {
  int64_t slot;  // -1: nowhere
  int32_t position;
  int32_t unused;
};

/// One of K and V of an append.
struct AppendHalf {
  const void* source;
  int64_t token_stride;
  int64_t head_stride;
  void* target;
  int64_t target_page_stride;
  int64_t target_token_stride;
  int64_t target_head_stride;
  Element element;
  int32_t dim;
};

struct AppendParams {
  const DevicePlace* places;  // null: see below
  AppendHalf halves[2];       // K, V
  RotaryParams rotary;        // of K
  // Where there are no places: slots of tokens, and positions with rotary.
  const int64_t* slots;
  const int32_t* positions;
  int64_t num_slots;  // of the cache
  Element target_element;
  int32_t page_size;  // packed: 0
  int32_t heads;
  int32_t num_halves;
  int32_t total_new;
};

}  // namespace attnrt::cuda
