// SPDX-License-Identifier: Apache-2.0
// The calls of the library: plan once per step and kind of layer, attend once per layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "attnrt/batch.hpp"
#include "attnrt/expr.hpp"
#include "attnrt/kv_cache.hpp"
#include "attnrt/status.hpp"
#include "attnrt/tensor.hpp"

namespace attnrt {

/// Keys are split at multiples of this many, counted from the start of their sequence. Every split
/// starts a fresh softmax state and states are folded in ascending order, so how many threads or
/// hosts share the splits never changes a bit of the result.
inline constexpr int32_t kSplitKeys = 512;

/// What products are computed in; sums are f32 in any case. kFastest: where q and the cache are
/// both bf16, and q is not rotated by the call, CPUs with fast bf16 products use them: softmax
/// weights are rounded to bf16 (as FlashAttention's are) and denormals count as 0. kFloat32:
/// weights stay f32.
enum class Arithmetic : uint8_t { kFastest, kFloat32 };

/// What makes weights of scores. kSoftmax: e^score over the sum of the row's. kPointwise: the score
/// is the weight, so that a score expression can be any function of its own element:
/// sigmoid(score), relu(score)^2 / n. Then there is no sum, no sink and no log-sum-exp. A score of
/// -inf weighs 0 in both.
enum class Normalizer : uint8_t { kSoftmax, kPointwise };

/// Softmaxes that may share one V.
inline constexpr int32_t kMaxBranches = 8;

/// What a kind of layer looks like. The same for all layers of that kind.
struct AttentionSpec {
  int32_t num_heads_q = 0;
  int32_t num_heads_kv = 0;              // divides num_heads_q: 1 is MQA, num_heads_q is MHA
  int32_t head_dim = 0;                  // of q and K
  int32_t head_dim_v = 0;                // of V and out; 0 means head_dim
  std::optional<float> softmax_scale{};  // default 1 / sqrt(head_dim); zero and negative are legal
  bool causal = false;        // bottom-right aligned: key j is visible to position p iff j <= p
  int32_t window_left = -1;   // keys before p that are visible; -1: all
  int32_t window_right = -1;  // keys after p that are visible; -1: all; causal makes it 0
  float softcap = 0.0f;       // > 0: s = softcap * tanh(s / softcap)
  bool has_alibi = false;     // s += -slope * |p - j| for position p and key j, after the softcap;
                              // AttendArgs brings alibi_slopes
  bool has_sinks = false;     // AttendArgs brings sinks
  Arithmetic arithmetic = Arithmetic::kFastest;
  Normalizer normalizer = Normalizer::kSoftmax;

  // 1 to kMaxBranches pairs of q and K, each with a softmax of its own, that weigh the same V:
  // differential attention is 2. V is read once. AttendArgs brings the further pairs and weights;
  // there is no lse, row_max or partial then.
  int32_t num_branches = 1;

  // Which keys a row sees, and-ed with causal and window; SequenceBatch brings its slots. Parts
  // that are windows (kv <= q, q - kv < 4096) cost what the options above cost.
  expr::MaskProgram mask{};

  // Replaces the score after scale, softcap and ALiBi, before masks; AttendArgs brings its slots.
  expr::ScoreProgram score{};
};

/// How much of a batch make_plan checks. kTrusted leaves out the O(pages) part: page ids are taken
/// as they are, `attend` does not know the largest one to compare with its view, and a wrong one
/// reads memory outside the cache. What is computed is the same, bit for bit.
enum class Validation : uint8_t { kFull, kTrusted };

struct PlanOptions {
  Validation validation = Validation::kFull;

  // Evaluates the mask at every element that the plan declares seen or unseen without asking the
  // mask, by its definition: about 100 ns each. A wrong one is an Internal error that names it.
  bool verify_mask = false;
};

/// Blocks of a plan: the query tokens of a tile (256 / (group * num_branches)) x kSparsityKeys
/// keys, for each KV head, those at the ends of a sequence included.
inline constexpr int32_t kSparsityKeys = 64;
struct Sparsity {
  int64_t empty_blocks = 0;    // never touched
  int64_t partial_blocks = 0;  // elements are asked for
  int64_t full_blocks = 0;     // seen as a whole

  [[nodiscard]] int64_t blocks() const noexcept {
    return empty_blocks + partial_blocks + full_blocks;
  }
  /// The share of blocks that no time is spent on, 0 to 1; 0 without blocks.
  [[nodiscard]] double sparsity() const noexcept {
    return blocks() == 0 ? 0.0 : static_cast<double>(empty_blocks) / static_cast<double>(blocks());
  }
};

struct PlanData;

/// What one step computes: tiles of query rows, the keys they see, splits and merge order.
/// Immutable; holds no hardware knowledge; any number of layers and threads may run it at once,
/// each with its own Context. Borrows the block table of its batch.
class Plan {
 public:
  Plan() noexcept;
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  /// False until make_plan has succeeded.
  [[nodiscard]] bool valid() const noexcept { return data_ != nullptr; }
  [[nodiscard]] int32_t batch_size() const noexcept;
  [[nodiscard]] int32_t total_q() const noexcept;

  /// The largest number of splits that any sequence has: the first dimension of PartialView.
  [[nodiscard]] int32_t num_splits() const noexcept;

  /// Items of parallel work (each over all KV heads) and bytes of unmerged results they keep.
  [[nodiscard]] int64_t num_items() const noexcept;
  [[nodiscard]] int64_t partial_bytes() const noexcept;

  /// Visible (row, key) pairs of all query heads and branches: what attention has to compute. Where
  /// elements of a mask have to be asked for, all of them count.
  [[nodiscard]] int64_t num_scores() const noexcept;

  /// Bytes of K and V that some row sees, each counted once, for a cache of `dtype`.
  [[nodiscard]] int64_t kv_bytes(DType dtype) const noexcept;

  /// What the mask and the windows leave out. O(blocks). Can throw std::bad_alloc.
  [[nodiscard]] Sparsity sparsity() const;

  /// A line of figures, then for the first `sequences` sequences (and KV heads, where the mask
  /// depends on them) a picture: a line for each tile of query tokens, a character for each block
  /// of keys: '#' full, '+' partial, '.' empty; shrunk to 96 x 48. Can throw std::bad_alloc.
  [[nodiscard]] std::string to_string(int32_t sequences = 4) const;

  /// For the library's own use.
  [[nodiscard]] const PlanData* data() const noexcept { return data_.get(); }

 private:
  friend Status make_plan(const AttentionSpec&, const SequenceBatch&, Plan&, const PlanOptions&);
  friend Status extend_plan(const SequenceBatch&, Plan&, const PlanOptions&);
  std::unique_ptr<PlanData> data_;
  std::unique_ptr<PlanData> spare_;  // planned into, then swapped: an error leaves data_ alone
};

/// Plans one step. Checks everything about lengths and tables once, in O(batch + pages). With a
/// mask that is more than a window, proves of blocks of keys which are empty and which are full:
/// some 100 ns for each block at the boundary of the mask, and O(elements) for its tables. A plan
/// object may be planned again and keeps its memory; on error it keeps its old content.
/// Errors: InvalidArgument naming the field, index and value, or the slot; OutOfMemory.
Status make_plan(const AttentionSpec& spec, const SequenceBatch& batch, Plan& plan,
                 const PlanOptions& options = {});

/// The plan of the next step in place of the last one, with the spec of that: it gives
/// the results of a new plan, bit for bit, but what was learnt about the tables of a mask is kept.
/// The caller promises that elements of rank 1 which stand below the shortest kv_len of the last
/// step are unchanged; tables of more dimensions, and tables that moved or have another size, are
/// looked at as a whole. Errors: as make_plan, and InvalidArgument where `plan` has not been made;
/// on error it keeps its old content.
Status extend_plan(const SequenceBatch& batch, Plan& plan, const PlanOptions& options = {});

/// Threads that a context may be asked for: each has scratch memory, 0.3 MB for heads of 64.
inline constexpr int32_t kMaxThreads = 4096;

struct ContextOptions {
  // "cpu", "reference", "cuda"; empty: the best for the tensors' device, call by call.
  std::string_view backend;
  std::string_view isa;  // of Runtime::isas(): "baseline", "avx2", "avx512", "avx512_bf16", "amx",
                         // "onednn"; empty: ATTNRT_ISA, else the best here
  int32_t num_threads = 0;  // 0: the TBB arena that the calling thread is in; at most kMaxThreads

  /// Empty: a growing pool of the context's own. Else borrowed, to outlive the context: used from
  /// its first 64-byte boundary on, and never grown; too small is OutOfMemory. Backend "cuda":
  /// device memory. A context without a named backend borrows it for calls on the CPU only.
  std::span<std::byte> workspace;

  void* stream = nullptr;  // cuda: the cudaStream_t that calls are put on; null: the default one
};

/// Who computes, with which threads and scratch memory. One per concurrent caller: calls on the
/// same context must not overlap.
class Context {
 public:
  /// The defaults of ContextOptions. A wrong ATTNRT_ISA is reported by the first call.
  Context() noexcept;
  ~Context();
  Context(Context&&) noexcept;
  Context& operator=(Context&&) noexcept;

  /// Errors: InvalidArgument for unknown names and for num_threads outside 0..kMaxThreads,
  /// Unavailable for what this machine lacks, OutOfMemory.
  static Status create(const ContextOptions& options, Context& context);

  /// Bytes of workspace that `attend` with this plan takes from this context.
  [[nodiscard]] size_t workspace_bytes(const Plan& plan) const noexcept;

  /// Grows the context's own workspace, so that the first `attend` allocates nothing either.
  Status reserve(const Plan& plan);

  /// All that `attend` with these arguments does before its kernels start: checks, workspace, on a
  /// device also the upload and the compiling of expressions. That attend, with these tensors or
  /// others of their dtypes, then only launches, so its stream can be captured. Errors: as attend.
  Status reserve(const Plan& plan, const struct AttendArgs& args);

  /// What attend will use: "cpu", "avx512", threads.
  [[nodiscard]] std::string_view backend() const noexcept;
  [[nodiscard]] std::string_view isa() const noexcept;
  [[nodiscard]] int32_t num_threads() const noexcept;

  struct Impl;
  /// For the library's own use.
  [[nodiscard]] Impl* impl() noexcept { return impl_.get(); }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Log-sum-exp of each row, written where `data` is not null. Base, order and the value of a row
/// without visible keys are part of the type, because every library has other habits.
enum class LseBase : uint8_t { kNatural, kTwo };
enum class LseOrder : uint8_t { kHeadsFirst, kTokensFirst };  // (Hq, total_q) or (total_q, Hq)
enum class LseEmpty : uint8_t { kMinusInf, kPlusInf };        // +inf is FlashAttention-2's habit

struct LseView {
  float* data = nullptr;  // Hq * total_q floats without gaps, 4-byte aligned
  LseBase base = LseBase::kNatural;
  LseOrder order = LseOrder::kHeadsFirst;
  LseEmpty empty = LseEmpty::kMinusInf;
};

/// Unmerged softmax states, one per split of kSplitKeys keys, row and head, f32. Sinks are left
/// out. A state is sum = sum exp(score - ref), acc = sum exp(score - ref) * v: a split without
/// visible keys has acc = 0, ref = -inf, sum = 0. `merge_states` over all splits in ascending order
/// gives the bits that `attend` without `partial` gives.
struct PartialView {
  float* acc = nullptr;  // (num_splits, total_q, Hq, Dv)
  float* ref = nullptr;  // (num_splits, total_q, Hq), natural
  float* sum = nullptr;  // (num_splits, total_q, Hq)
  int32_t num_splits = 0;
};

/// Where the time of calls went, summed over workers; each call adds to it. Measured only where it
/// is asked for: two clock reads a unit of work, about 50 ns against 10 us or more.
struct AttendStats {
  int64_t units = 0;      // pieces of work that ran
  int64_t attend_ns = 0;  // in kernels over keys, the fold of splits that stay in one unit included
  int64_t merge_ns = 0;   // merging the partial results of several units
};

/// A row of a tile as hooks see it: one query token and head against up to 128 consecutive keys of
/// its sequence. Values of keys that the row does not see are arbitrary; what is written there is
/// ignored.
struct TileRow {
  float* values = nullptr;  // [num_keys]
  int32_t num_keys = 0;
  int32_t key_begin = 0;
  int32_t seq = 0;
  int32_t head = 0;        // of q
  int32_t branch = 0;      // 0 to AttentionSpec::num_branches - 1
  int64_t position = 0;    // logical, of the query token
  float reference = 0.0f;  // of weights: they are e^(score - reference)
};

/// The last resort where an expression does not do. Called by all workers at once, in any order,
/// for every element that a row sees and perhaps for others; must neither throw nor call the
/// library. A row's bits are the same however calls are cut as long as the hook treats every
/// element by itself.
struct TileHook {
  void (*call)(const TileRow& row, void* user) = nullptr;  // null: none
  void* user = nullptr;
};

/// What is done to out as it is written, in f32: out = gate * (scale * attention) + residual. A row
/// without visible keys has attention 0.
struct Epilogue {
  ConstTensorView gate;      // (total_q, Hq, Dv), data null: 1
  ConstTensorView residual;  // (total_q, Hq, Dv), data null: 0; may be `out` itself
  float scale = 1.0f;
};

/// Another pair of queries and keys over the same V.
struct Branch {
  ConstTensorView q;        // (total_q, Hq, Dqk), dtype and device of AttendArgs::q
  const void* k = nullptr;  // with the dtype, strides, pages and slots of AttendArgs::kv.k
};

/// One layer's tensors. Where q is on a device, so is every array here, the tables of score_values
/// too.
struct AttendArgs {
  ConstTensorView q;  // (total_q, Hq, Dqk)
  KvView kv;
  TensorView out;                       // (total_q, Hq, Dv); unused with `partial`
  LseView lse;                          // optional
  std::span<const float> alibi_slopes;  // (Hq) or (batch * Hq), iff spec.has_alibi
  std::span<const float> sinks;         // (Hq) logits, iff spec.has_sinks; a NaN makes its head's
                                        // rows NaN, but those without keys stay 0 (their lse: NaN)

  // Values of the slots of spec.score, by name; others are ignored. They may differ from layer to
  // layer. Buffers are borrowed for the call and must not overlap what it writes; a promised order
  // is not checked.
  std::span<const expr::SlotValue> score_values;

  RotaryView rotary_q;  // optional rotation of q on the fly, as read, in f32; backend "cuda" rounds
                        // the result to q's dtype, as FlashAttention does
  bool rotary_q_constant = false;  // all rows of a sequence at its q_start (FlashAttention's
                                   // rule for calls that are neither causal nor windowed)
  PartialView partial;             // where acc is set: states instead of out and lse
  DeviceLengths device_lengths;    // optional, backend "cuda"
  Epilogue epilogue;               // not with `partial`

  // Branches 1 and up of spec.num_branches; q and kv are branch 0. The attention of head h is
  // the sum over branches i of branch_weights[i * Hq + h] * softmax_i V, each branch with the
  // masks, scores and sinks of head h. Both are empty where there is one branch.
  std::span<const Branch> branches;
  std::span<const float> branch_weights;  // (num_branches, Hq), finite
  float* row_max = nullptr;  // (Hq, total_q): the largest visible score, without sinks; -inf where
                             // there is none, NaN where one is NaN or +inf. Not with `partial`
  TileHook score_hook;       // changes scores after spec.score
  TileHook weight_hook;      // changes what V is multiplied with, not the row's sum; products are
                             // then f32 whatever spec.arithmetic says
  std::stop_token stop;      // checked between items of work
  AttendStats* stats = nullptr;  // optional; the reference backend leaves it alone
};

/// Computes one layer. A row's bits depend on its own sequence, the spec, the dtypes, the ISA and
/// whether rotary_q is there: not on the batch, threads, layout or pages, nor on which of the
/// sequence's query rows stand in the same call.
/// Checks shapes, strides, pointers and the plan's largest page id in O(1) before it writes
/// anything. Allocates nothing once the context's workspace is large enough.
/// Errors: InvalidArgument, Unsupported, OutOfMemory (workspace), Cancelled.
Status attend(Context& context, const Plan& plan, const AttendArgs& args);

/// New keys and values for the cache. Token i of sequence b goes to its cache slot
/// cache_seqlens[b] + i or, with slot_mapping, to slot_mapping[token] = page * page_size + offset.
struct AppendArgs {
  ConstTensorView k;  // (total_new, Hkv, Dqk)
  ConstTensorView v;  // (total_new, Hkv, Dv); unused with kv.v_is_k_prefix
  KvView kv;          // written, converted to kv.dtype; where kv.v and v.data are null, K only: of
                      // a branch, kv.k being Branch::k
  std::span<const int32_t> cu_seqlens_new;  // [batch + 1] prefix sums of new tokens
  std::span<const int32_t> cache_seqlens;   // [batch] slots in use before, leftpad included
  std::span<const int32_t> cu_seqlens_k;    // [batch + 1] packed cache only
  BlockTable block_table;                   // paged cache only
  std::span<const int64_t> slot_mapping;    // [total_new] token slots, -1 skips; replaces the four
  RotaryView rotary;                        // optional rotation of K
  std::span<const int32_t> rotary_positions;  // [total_new]; default cache_seqlens[b] + i (as
                                              // FlashAttention); required with slot_mapping
  DeviceSlots device_slots;                   // optional, backend "cuda"; replaces all lists
};

/// Converts, rotates and stores. Everything is checked before the first byte is written.
/// Two tokens with one slot: which one stays is unspecified.
/// Errors: InvalidArgument naming the argument, index and value; Unsupported where the backend does
/// not reach the cache's memory (kv.device); OutOfMemory.
Status append_kv(Context& context, const AppendArgs& args);

/// Copies a paged cache into another layout (nhd, hnd, packed16), or into the same one with other
/// strides: every slot of every page, bit for bit, so unused slots keep what they held; padding of
/// packed16 becomes zeros. The views must agree in dtype, pages, heads and head dims and must not
/// overlap. Runs on all threads of the context. Errors: InvalidArgument naming the argument and its
/// value, Unsupported where the backend does not reach the caches' memory (from.device),
/// OutOfMemory.
Status convert_kv(Context& context, const KvView& from, const KvView& to);

/// A finished result over some keys: out and its natural log-sum-exp in (Hq, total_q).
struct StateView {
  ConstTensorView out;         // (total_q, Hq, Dv)
  const float* lse = nullptr;  // (Hq, total_q), natural
};

/// Merges finished results over disjoint sets of keys. (0, -inf) is neutral; merging only empty
/// states gives (0, -inf). `sinks`, (Hq) or empty, are added once per row here, so the states must
/// have been computed without. At least one state; all of one shape.
/// Errors: InvalidArgument naming the argument, index and value; Unsupported where the backend does
/// not reach the tensors' memory (out.device); OutOfMemory.
Status merge_states(Context& context, std::span<const StateView> states, TensorView out,
                    LseView lse = {}, std::span<const float> sinks = {});

/// Folds f32 partials of `attend` in ascending split order: bit for bit what `attend` without
/// `partial` writes. Several PartialViews (shards, in key order) fold one after the other.
/// Errors: as above.
Status merge_states(Context& context, std::span<const PartialView> partials, TensorView out,
                    LseView lse = {}, std::span<const float> sinks = {});

}  // namespace attnrt
