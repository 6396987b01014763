// SPDX-License-Identifier: Apache-2.0
// The contract between the executor and the kernels of one ISA. Plain data only: this header is
// compiled under every -m flag, so it must never define a function.
#pragma once

#include <cstdint>

#include "attnrt/attention.hpp"
#include "src/expr/tile_code.hpp"

namespace attnrt::cpu {

/// Keys whose scores are computed together, at absolute multiples. The running maximum moves and
/// sums are rescaled at these boundaries for every tile height and ISA, so a row's arithmetic does
/// not depend on how many rows stand beside it.
inline constexpr int32_t kBlockKeys = 128;
static_assert(kSplitKeys % kBlockKeys == 0);

/// K and V of one sequence. Strides in elements of the KV dtype.
struct KvSource {
  const void* k;
  const void* v;
  DType dtype;
  bool packed16;
  int32_t v_group;  // packed16: keys whose V lines stand together, 16 or 32
  int32_t head_dim, head_dim_v;
  int64_t k_page_stride, k_token_stride, k_head_stride;
  int64_t v_page_stride, v_token_stride, v_head_stride;
  const int32_t* pages;  // null: packed, slot s is row s
  int64_t first_slot;    // slot of key 0
  int32_t page_size;
};

/// A place for unmerged states. Element (split, token, head, branch) is at
/// split * split_stride + (token * heads_q + head) * branches + branch, counted in states.
struct PartialTarget {
  float* acc;  // states x head_dim_v
  float* ref;
  float* sum;
  int64_t split_stride;
};

/// Rows of the output: out[token * out_token_stride + head * out_head_stride + d].
struct OutputTarget {
  void* out;
  DType dtype;
  int64_t token_stride, head_stride;  // elements
  float* lse;                         // element (token, head), null: none
  int64_t lse_token_stride, lse_head_stride;
  LseBase lse_base;
  LseEmpty lse_empty;
  const float* sinks;  // (Hq), null: none
  float* row_max;      // element (token, head), heads first, null: none
  int64_t row_max_head_stride;
  bool pointwise;               // weights have no sum to divide by
  int32_t more_branches;        // beside the first
  const float* branch_weights;  // (1 + more_branches, heads_q); of more than one branch
  int32_t heads_q;
  float scale;  // out = gate * (scale * attention) + residual
  struct Operand {
    const void* data;  // null: none
    DType dtype;
    int64_t token_stride, head_stride;  // elements
  } gate, residual;
};

struct PanelProducts;  // backends/cpu/panels.hpp
class PanelSource;     // backends/cpu/panel_source.hpp

/// A further pair of q and K over the V of the first.
struct BranchSource {
  const void* q;  // row 0 of the call
  int64_t q_token_stride, q_head_stride;
  int64_t k_bytes;  // from K of the first to this one's
};

/// One work item with its pointers. All token-indexed pointers stand at the tile's first token.
struct AttendTask {
  const void* q;
  DType q_dtype;
  int64_t q_token_stride, q_head_stride;  // elements
  KvSource kv;
  const BranchSource* branches;  // [more_branches]
  int32_t more_branches;         // beside the first
  int64_t q_row;                 // of the call, of token 0
  int32_t tokens;
  int32_t heads_q;  // of the whole layer
  int32_t group;    // heads_q / heads_kv
  int32_t head_dim, head_dim_v;
  int32_t kv_head_begin, kv_head_end;
  int32_t key_begin, key_end;  // absolute; may be empty
  int32_t kv_len;
  int64_t q_position;  // logical position of the first token; q_start may be any int32
  int32_t window_left, window_right;
  float scale;
  float softcap;              // <= 0: none
  const float* alibi;         // (Hq), null: none
  int32_t seq;                // index in the batch: b() of programs
  int32_t q_len;              // of the sequence: q_len() of programs
  expr::ExprCall mask;        // evaluated where a run leaves something undecided
  const expr::MaskRun* runs;  // ascending, apart; what lies between is seen by no row. Null: all
  int32_t num_runs;
  bool pointwise;  // scores are weights
  TileHook score_hook, weight_hook;
  expr::ExprCall score;        // applied to the scaled, capped and biased score
  const RotaryView* rotary_q;  // null: none
  bool rotary_q_constant;
  int32_t rotary_q_base;         // position for constant rotation
  const PartialTarget* partial;  // set: one state per split, written at split - partial_first_split
  int32_t partial_first_split;
  OutputTarget out;       // used where partial is null
  bool ahead;             // ask for the next block while one is worked on: cpu_features.hpp
  bool close;             // instead, where register tiles multiply, closely: ahead_inl.hpp
  void* scratch;          // 64-byte aligned, attend_scratch_bytes() of scratch.hpp
  PanelProducts* panels;  // the worker's, where KernelTable::make_panels is set
};

/// Folds splits of some tokens in ascending order and writes the finished rows.
struct MergeTaskRows {
  const PartialTarget* partials;  // [num_targets], folded one after the other
  const int32_t* num_splits;      // [num_targets]
  int32_t num_targets;
  int32_t tokens;
  int32_t head_begin, head_end;
  int32_t heads_q;
  int32_t head_dim_v;
  OutputTarget out;
  float* scratch;  // head_dim_v floats, twice that with more branches; 64-byte aligned
};

/// A row of K or V (or of any tensor) converted to the cache dtype, rotated if asked for.
struct StoreTask {
  const void* src;
  DType src_dtype;
  int64_t src_head_stride;
  void* dst;
  DType dst_dtype;
  int64_t dst_head_stride;
  int32_t heads;
  int32_t dim;
  const RotaryView* rotary;  // null: none
  int32_t position;
  float* scratch;  // dim floats
};

/// Merges finished (out, lse) rows of one token, all heads.
struct MergeStatesTask {
  const StateView* states;
  int32_t num_states;
  int64_t token;  // one token, all heads
  int32_t heads_q;
  int32_t head_dim_v;
  int64_t total_q;
  OutputTarget out;  // stands at the token
  float* scratch;    // head_dim_v floats
};

/// Keys of one 16-key group of a packed16 cache, K or V of one head, as bits of the cache's dtype.
struct GroupTask {
  DType dtype;
  bool is_v;
  int64_t columns;          // of each row, padding included: a multiple of 16
  int32_t v_keys;           // 16 or 32, see kv_cache.hpp
  const void* const* rows;  // [count]
  int32_t first, count;     // lanes that are written; 16: the whole group
  void* group;              // its first element
};

/// The way back: all 16 keys.
struct UngroupTask {
  DType dtype;
  bool is_v;
  int64_t columns;
  int32_t v_keys;
  const void* group;
  void* const* rows;  // [16]
};

using AttendKernel = void (*)(const AttendTask&);
using MergeKernel = void (*)(const MergeTaskRows&);
using StoreKernel = void (*)(const StoreTask&);
using MergeStatesKernel = void (*)(const MergeStatesTask&);
using PackGroupKernel = void (*)(const GroupTask&);
using UnpackGroupKernel = void (*)(const UngroupTask&);

/// A null slot means "no better than the next table": dispatch overlays tables worst to best.
struct KernelTable {
  const char* name;
  uint32_t needs;         // CpuFeature bits without which it cannot run
  uint32_t wants = 0;     // and those without which it runs only when asked for by name
  int32_t tile_rows = 0;  // of its tallest register tiles; 0: those of the next table
  AttendKernel attend[kDTypeCount] = {};  // by KV dtype, f32 arithmetic
  AttendKernel attend_bf16_dot =
      nullptr;                          // bf16 q and KV, p rounded to bf16; null: not worth it here
  const char* bf16_dot_name = nullptr;  // of its instruction, for people: "bf16 dot"
  MergeKernel merge = nullptr;
  StoreKernel store = nullptr;
  MergeStatesKernel merge_states = nullptr;
  PackGroupKernel pack_group = nullptr;
  UnpackGroupKernel unpack_group = nullptr;
  PanelSource* (*make_panels)() = nullptr;  // set: what attend kernels multiply by; the caller's
};

extern const KernelTable kBaselineKernels;
extern const KernelTable kAvx2Kernels;
extern const KernelTable kAvx512Kernels;
extern const KernelTable kAvx512Bf16Kernels;
extern const KernelTable kAmxKernels;
extern const KernelTable kOneDnnKernels;  // where it was found
extern const KernelTable kNeonKernels;

}  // namespace attnrt::cpu
