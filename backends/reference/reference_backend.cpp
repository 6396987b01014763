// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/reference_backend.hpp"

#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "backends/reference/element.hpp"
#include "backends/reference/kv_element.hpp"
#include "backends/reference/reference.hpp"
#include "src/plan_mask.hpp"

namespace attnrt::reference {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A plan knows sequences by pointer; the definition wants a batch. CSR fits any page lists.
struct OwnedBatch {
  std::vector<int32_t> cu_seqlens_q{0};
  std::vector<int32_t> cu_seqlens_k;
  std::vector<int32_t> seqused_k;
  std::vector<int32_t> q_start;
  std::vector<int32_t> leftpad;
  std::vector<int32_t> indptr{0};
  std::vector<int32_t> pages;
  std::vector<int32_t> last_page_len;
  std::vector<expr::SlotValue> mask_values;
  int32_t page_size = 0;

  explicit OwnedBatch(const PlanData& plan) : page_size(plan.page_size) {
    if (plan.mask != nullptr) mask_values = slot_values(*plan.mask);
    for (const PlanSequence& seq : plan.sequences) {
      cu_seqlens_q.push_back(seq.q_begin + seq.q_len);
      q_start.push_back(seq.q_start);
      if (page_size == 0) {
        cu_seqlens_k.push_back(static_cast<int32_t>(seq.first_slot));
        seqused_k.push_back(seq.kv_len);
      } else {
        add_pages(seq);
      }
    }
    if (page_size == 0) cu_seqlens_k.push_back(static_cast<int32_t>(plan.packed_tokens));
  }

  void add_pages(const PlanSequence& seq) {
    const int64_t used = seq.kv_len > 0 ? seq.first_slot + seq.kv_len : 0;
    const int64_t count = (used + page_size - 1) / page_size;
    if (count > 0) pages.insert(pages.end(), seq.pages, seq.pages + count);
    indptr.push_back(static_cast<int32_t>(pages.size()));
    last_page_len.push_back(count > 0 ? static_cast<int32_t>(used - (count - 1) * page_size) : 0);
    seqused_k.push_back(static_cast<int32_t>(used));
    leftpad.push_back(used > 0 ? static_cast<int32_t>(seq.first_slot) : 0);
  }

  [[nodiscard]] SequenceBatch view() const {
    SequenceBatch batch;
    batch.cu_seqlens_q = cu_seqlens_q;
    batch.cu_seqlens_k = cu_seqlens_k;
    batch.seqused_k = seqused_k;
    batch.q_start = q_start;
    batch.leftpad_k = leftpad;
    batch.mask_values = mask_values;
    if (page_size != 0)
      batch.block_table = BlockTable::csr(indptr, pages, last_page_len, page_size);
    return batch;
  }
};

Status cancelled() { return Status(Code::kCancelled, "attend was stopped by its stop token"); }

// One row of new keys or values into its slot, rotated where `rotary` says so.
struct StoreRow {
  const ConstTensorView& source;
  int64_t token;
  int64_t head;
  const RotaryView& rotary;
  int32_t position;
};

void store_row(const StoreRow& row, const KvView& kv, const KvRow& place) {
  const ConstTensorView& source = row.source;
  const int64_t first = row.token * source.strides[0] + row.head * source.strides[1];
  std::vector<double> values(static_cast<size_t>(source.shape[2]));
  for (size_t d = 0; d < values.size(); ++d) {
    values[d] = load(source.dtype, source.data, first + static_cast<int64_t>(d));
  }
  rotate(row.rotary, row.position, values.data());
  // Padding of packed16.
  if (kv.layout == KvLayout::kPacked16) values.resize((values.size() + 15) / 16 * 16, 0.0);
  for (size_t d = 0; d < values.size(); ++d) {
    store_kv(kv, place, static_cast<int64_t>(d), values[d]);
  }
}

// packed16: all 16 slots that `slot` is the first of become zeros, padding included.
void open_group(const AppendArgs& args, int64_t slot) {
  const KvView& kv = args.kv;
  for (const bool is_v : {false, true}) {
    if (is_v && !appends_values(args)) continue;
    const int64_t padded = ((is_v ? kv.head_dim_v : kv.head_dim) + int64_t{15}) / 16 * 16;
    for (int64_t head = 0; head < kv.num_heads_kv; ++head) {
      for (int64_t t = 0; t < 16; ++t) {
        for (int64_t d = 0; d < padded; ++d) store_kv(kv, {is_v, slot + t, head}, d, 0.0);
      }
    }
  }
}

// Bits, not values: payloads of NaN too.
void copy_row(const KvView& from, const KvView& to, const KvRow& row) {
  const int64_t dim = row.is_v ? to.head_dim_v : to.head_dim;
  const int64_t element = size_of(to.dtype);
  const auto* source = static_cast<const std::byte*>(row.is_v ? from.v : from.k);
  auto* target = static_cast<std::byte*>(row.is_v ? to.v : to.k);
  for (int64_t d = 0; d < dim; ++d) {
    std::memcpy(target + kv_element(to, row, d) * element,
                source + kv_element(from, row, d) * element, static_cast<size_t>(element));
  }
  if (to.layout != KvLayout::kPacked16) return;
  for (int64_t d = dim; d % 16 != 0; ++d) store_kv(to, row, d, 0.0);
}

// One row and head of a merge, as it is folded.
struct Merged {
  std::vector<double> acc;
  double max = -kInfinity;  // natural
  double sum = 0.0;

  explicit Merged(int64_t dim) : acc(static_cast<size_t>(dim), 0.0) {}

  // Makes `max` the reference point of acc and sum, and returns the weight of a state at `value`.
  double weight_of(double value) {
    if (value > max || std::isnan(value)) {
      const double rescale = sum == 0.0 ? 0.0 : std::exp(max - value);
      for (double& a : acc) a *= rescale;
      sum *= rescale;
      max = value;
    }
    return std::exp(value - max);
  }
};

void fold_state(const StateView& state, int64_t token, int64_t head, Merged& merged) {
  const double lse = state.lse[head * state.out.shape[0] + token];
  if (lse == -kInfinity) return;
  const double weight = merged.weight_of(lse);
  const int64_t first = token * state.out.strides[0] + head * state.out.strides[1];
  merged.sum += weight;
  for (size_t d = 0; d < merged.acc.size(); ++d) {
    const double value = load(state.out.dtype, state.out.data, first + static_cast<int64_t>(d));
    merged.acc[d] += weight * value;
  }
}

void fold_partial(const PartialView& partial, int64_t state, Merged& merged) {
  if (partial.sum[state] == 0.0f) return;
  const double weight = merged.weight_of(partial.ref[state]);
  const auto dim = static_cast<int64_t>(merged.acc.size());
  merged.sum += weight * partial.sum[state];
  for (int64_t d = 0; d < dim; ++d) {
    merged.acc[static_cast<size_t>(d)] += weight * partial.acc[state * dim + d];
  }
}

void merge_row(const MergeTask& task, int64_t token, int64_t head) {
  const TensorView& out = task.out;
  const int64_t total_q = out.shape[0];
  const int64_t heads = out.shape[1];
  Merged merged(out.shape[2]);
  for (const StateView& state : task.states) fold_state(state, token, head, merged);
  for (const PartialView& partial : task.partials) {
    for (int64_t split = 0; split < partial.num_splits; ++split) {
      fold_partial(partial, (split * total_q + token) * heads + head, merged);
    }
  }
  const bool empty = merged.sum == 0.0;
  const double sink = task.sinks != nullptr ? double{task.sinks[head]} : -kInfinity;
  if (!empty && sink != -kInfinity) {
    const double weight = merged.weight_of(sink);
    merged.sum += sink == kInfinity ? 1.0 : weight;  // inf - inf is no number
  }
  for (int64_t d = 0; d < out.shape[2]; ++d) {
    const double value = empty ? 0.0 : merged.acc[static_cast<size_t>(d)] / merged.sum;
    store(out.dtype, out.data, token * out.strides[0] + head * out.strides[1] + d, value);
  }
  const double lse = empty ? sink : merged.max + std::log(merged.sum);
  store_lse(task.lse, token, head, total_q, heads, lse);
}

class ReferenceState final : public BackendState {};

class ReferenceBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "reference"; }

  [[nodiscard]] Capability capability() const override {
    return {"reference", true, "needs nothing; for checking, not for speed"};
  }

  Status create_state(const ContextOptions& options,
                      std::unique_ptr<BackendState>& state) const override {
    if (!options.isa.empty()) {
      return Status(Code::kInvalidArgument,
                    "isa is \"" + std::string(options.isa) + "\", the reference backend has none");
    }
    state = std::make_unique<ReferenceState>();
    return {};
  }

  [[nodiscard]] std::string_view isa(const BackendState&) const noexcept override { return "none"; }
  [[nodiscard]] int32_t num_threads(const BackendState&) const noexcept override { return 1; }

  Status supports(const PlanData&, const AttendArgs& args) const override {
    return supports_memory("kv", args.kv.device);
  }

  [[nodiscard]] size_t workspace_bytes(const BackendState&,
                                       const PlanData&) const noexcept override {
    return 0;
  }

  Status attend(BackendState&, const AttendCall& call, std::span<std::byte>) const override {
    const OwnedBatch batch(call.plan);
    const AttendArgs& args = call.args;
    reference::attend(call.plan.spec, batch.view(), args);
    return args.stop.stop_requested() ? cancelled() : Status();
  }

  Status append(BackendState&, const AppendTask& task) const override {
    const AppendArgs& args = *task.args;
    const RotaryView no_rotary;
    // Groups are opened before any token is written: slots come in any order.
    for (int64_t token = 0; token < task.total_new; ++token) {
      const int64_t slot = task.place(task, token).slot;
      const bool packed16 = args.kv.layout == KvLayout::kPacked16;
      if (packed16 && slot >= 0 && slot % 16 == 0) open_group(args, slot);
    }
    for (int64_t token = 0; token < task.total_new; ++token) {
      const AppendPlace place = task.place(task, token);
      if (place.slot < 0) continue;
      for (int64_t head = 0; head < args.kv.num_heads_kv; ++head) {
        store_row({args.k, token, head, args.rotary, place.rotary_position}, args.kv,
                  {false, place.slot, head});
        if (!appends_values(args)) continue;
        store_row({args.v, token, head, no_rotary, 0}, args.kv, {true, place.slot, head});
      }
    }
    return {};
  }

  Status convert(BackendState&, const KvView& from, const KvView& to) const override {
    for (int64_t slot = 0; slot < from.num_tokens; ++slot) {
      for (int64_t head = 0; head < from.num_heads_kv; ++head) {
        copy_row(from, to, {false, slot, head});
        if (!from.v_is_k_prefix) copy_row(from, to, {true, slot, head});
      }
    }
    return {};
  }

  Status merge(BackendState&, const MergeTask& task) const override {
    for (int64_t token = 0; token < task.out.shape[0]; ++token) {
      for (int64_t head = 0; head < task.out.shape[1]; ++head) merge_row(task, token, head);
    }
    return {};
  }
};

}  // namespace

const Backend& reference_backend() noexcept {
  static const ReferenceBackend backend;
  return backend;
}

}  // namespace attnrt::reference
