// SPDX-License-Identifier: Apache-2.0
// Plans one step: which keys each tile of query rows visits, where they are split into items, and
// where unmerged results go. Knows no hardware; the same batch always gives the same plan.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "attnrt/attention.hpp"
#include "src/context.hpp"
#include "src/packed16.hpp"
#include "src/plan_data.hpp"
#include "src/plan_items.hpp"
#include "src/plan_mask.hpp"
#include "src/plan_score.hpp"
#include "src/plan_verify.hpp"
#include "src/resolve.hpp"
#include "src/validate.hpp"
#include "src/visible_range.hpp"

namespace attnrt {
namespace {

// Rows (query tokens x group) of a tile: packing a block of K and V costs about as much as 8 rows
// of arithmetic, so 256 rows bring it to 3%, and q, scores and results of 256 rows of 128 columns
// still fit into 1 MB of L2.
constexpr int32_t kTileRows = 256;

int32_t div_up(int32_t a, int32_t b) { return a / b + (a % b != 0 ? 1 : 0); }

AttentionSpec normalized(const AttentionSpec& spec) {
  AttentionSpec out = spec;
  if (out.head_dim_v == 0) out.head_dim_v = out.head_dim;
  if (!out.softmax_scale) {
    out.softmax_scale = 1.0f / std::sqrt(static_cast<float>(out.head_dim));
  }
  if (out.causal) out.window_right = 0;
  return out;
}

int32_t tokens_of_tile(const AttentionSpec& spec) {
  return std::max(1, kTileRows / rows_of_token(spec));
}

// Union of the keys that tokens [begin, end) of a sequence see. Both ends of a row's interval grow
// with its position, so the first and the last row bound it.
KeyRange keys_of_tokens(const AttentionSpec& spec, const PlanSequence& seq, int32_t begin,
                        int32_t end) {
  if (begin >= end) return {0, 0};
  const KeyRange first =
      visible_keys(int64_t{seq.q_start} + begin, seq.kv_len, spec.window_left, -1);
  const KeyRange last =
      visible_keys(int64_t{seq.q_start} + end - 1, seq.kv_len, -1, spec.window_right);
  if (first.end == 0 || first.begin >= last.end) return {0, 0};
  return {first.begin, last.end};
}

// Keeps what of the runs of a tile lies within its windows. Where only windows decide, neighbours
// are one run.
void add_runs(PlanData& plan, const expr::RunList& list, int64_t index, PlanTile& tile) {
  tile.run_begin = static_cast<int32_t>(plan.runs.size());
  const std::span<const expr::KeyRun> runs = list.tile(index);
  for (size_t i = 0; i < runs.size(); ++i) {
    const int32_t begin = std::max(runs[i].key_begin(), tile.key_begin);
    const int32_t end = std::min(runs[i].key_end(), tile.key_end);
    if (begin >= end) continue;
    const auto at = static_cast<size_t>(list.tile_end[static_cast<size_t>(index)]) + i;
    const uint64_t undecided = list.undecided[at];
    const bool first = static_cast<int32_t>(plan.runs.size()) == tile.run_begin;
    if (!first && undecided == 0 && plan.runs.back().undecided == 0 &&
        plan.runs.back().key_end == begin) {
      plan.runs.back().key_end = end;
    } else {
      plan.runs.push_back({begin, end, undecided});
    }
  }
  tile.run_end = static_cast<int32_t>(plan.runs.size());
  const bool none = tile.run_begin == tile.run_end;
  tile.key_begin = none ? 0 : plan.runs[static_cast<size_t>(tile.run_begin)].key_begin;
  tile.key_end = none ? 0 : plan.runs.back().key_end;
}

// Keys that at least one of the tiles from `first_tile` on sees.
int64_t keys_of_tiles(const PlanData& plan, size_t first_tile) {
  std::vector<KeyRange> ranges;
  for (size_t t = first_tile; t < plan.tiles.size(); ++t) {
    const PlanTile& tile = plan.tiles[t];
    if (plan.mask == nullptr) ranges.push_back({tile.key_begin, tile.key_end});
    for (const expr::MaskRun& run : plan.runs_of(tile))
      ranges.push_back({run.key_begin, run.key_end});
  }
  std::ranges::sort(ranges, {}, &KeyRange::begin);
  int64_t keys = 0;
  int32_t end = 0;
  for (const KeyRange& range : ranges) {
    keys += std::max(0, range.end - std::max(range.begin, end));
    end = std::max(end, range.end);
  }
  return keys;
}

// Tiles of one sequence for some heads; `runs` is null without a mask.
void add_tiles(PlanData& plan, int32_t seq_index, const expr::HeadClass& heads,
               const expr::RunList* runs) {
  const size_t first_tile = plan.tiles.size();
  const PlanSequence& seq = plan.sequences[static_cast<size_t>(seq_index)];
  const int32_t tile_tokens = tokens_of_tile(plan.spec);
  for (int32_t begin = 0; begin < seq.q_len;) {
    PlanTile tile;
    tile.seq = seq_index;
    tile.token_begin = begin;
    // By what is left: begin + tile_tokens may pass the end of int32.
    tile.token_end = begin + std::min(seq.q_len - begin, tile_tokens);
    tile.kv_head_begin = heads.hkv_begin;
    tile.kv_head_end = heads.hkv_end;
    const KeyRange keys = keys_of_tokens(plan.spec, seq, tile.token_begin, tile.token_end);
    tile.key_begin = keys.begin;
    tile.key_end = keys.end;
    if (runs != nullptr) add_runs(plan, *runs, begin / tile_tokens, tile);
    begin = tile.token_end;
    tile.keys = keys_within(plan, tile, tile.key_begin, tile.key_end);
    tile.first_split = tile.key_begin / kSplitKeys;
    tile.num_splits = tile.key_end == 0 ? 0 : div_up(tile.key_end, kSplitKeys) - tile.first_split;
    plan.max_tile_tokens = std::max(plan.max_tile_tokens, tile.token_end - tile.token_begin);
    plan.tiles.push_back(tile);
  }
  const KeyRange seen = keys_of_tokens(plan.spec, seq, 0, seq.q_len);
  const int64_t keys = runs == nullptr ? seen.end - seen.begin : keys_of_tiles(plan, first_tile);
  plan.keys_seen += keys * (heads.hkv_end - heads.hkv_begin);
}

void add_sequence(PlanData& plan, int32_t seq_index, MaskPlanner* planner) {
  const PlanSequence& seq = plan.sequences[static_cast<size_t>(seq_index)];
  plan.max_splits = std::max(plan.max_splits, div_up(seq.kv_len, kSplitKeys));
  const AttentionSpec& spec = plan.spec;
  if (planner == nullptr) {
    add_tiles(plan, seq_index, {0, spec.num_heads_q, 0, spec.num_heads_kv}, nullptr);
    return;
  }
  for (const expr::HeadClass& heads : planner->head_classes()) {
    add_tiles(plan, seq_index, heads, &planner->plan(seq_index, seq, heads, tokens_of_tile(spec)));
  }
}

void clear(PlanData& plan) {
  plan.sequences.clear();
  plan.tiles.clear();
  plan.runs.clear();
  plan.items.clear();
  plan.max_splits = 0;
  plan.max_tile_tokens = 0;
  plan.keys_seen = 0;
  plan.odd_leftpad_seq = -1;
}

uint64_t next_serial() noexcept {
  static std::atomic<uint64_t> serial{0};
  return serial.fetch_add(1, std::memory_order_relaxed) + 1;
}

void build(const SequenceBatch& batch, const PageBound& bound, PlanData& plan) {
  plan.serial = next_serial();
  clear(plan);
  plan.total_q = batch.cu_seqlens_q.empty() ? 0 : batch.cu_seqlens_q.back();
  plan.page_size = batch.block_table.page_size;
  plan.packed_tokens = batch.cu_seqlens_k.empty() ? 0 : batch.cu_seqlens_k.back();
  plan.max_page_id = bound.max_id;
  plan.max_page_seq = bound.seq;
  plan.max_page_index = bound.index;
  std::optional<MaskPlanner> planner;
  if (plan.mask != nullptr) planner.emplace(*plan.mask, plan.spec);
  for (int64_t b = 0; b < batch.batch_size(); ++b) {
    plan.sequences.push_back(resolve_sequence(batch, b));
    const PlanSequence& seq = plan.sequences.back();
    const bool odd = seq.kv_len > 0 && seq.first_slot % kPacked16Keys != 0;
    if (odd && plan.odd_leftpad_seq < 0) plan.odd_leftpad_seq = static_cast<int32_t>(b);
    add_sequence(plan, static_cast<int32_t>(b), planner ? &*planner : nullptr);
  }
  plan_items(plan);
}

// What the earlier plan of these sequences knows of the mask, brought up to date; null where
// something of it is not as it was.
Status earlier_mask(const SequenceBatch& batch, const PlanData& earlier,
                    const expr::Bindings& bindings, std::shared_ptr<PlanMask>& mask) {
  mask.reset();
  if (earlier.mask == nullptr || earlier.mask->bindings() != bindings) return {};
  if (std::ssize(earlier.sequences) != batch.batch_size()) return {};
  int64_t unchanged = std::numeric_limits<int32_t>::max();
  for (const PlanSequence& seq : earlier.sequences) {
    unchanged = std::min<int64_t>(unchanged, seq.kv_len);
  }
  mask = earlier.mask;
  return mask->refresh(unchanged);
}

Status named(const Status& status) {
  return status.ok() ? Status() : Status(status.code(), "mask_values: " + status.message());
}

// Mask and score of the plan, with as much of them in the options of the spec as fits there.
// `earlier`, which may be null, is the plan that this one goes on from.
Status resolve_programs(const SequenceBatch& batch, const PlanData* earlier, PlanData& plan) {
  plan.mask.reset();
  plan.score = make_plan_score(plan.spec, std::move(plan.score));
  if (!plan.spec.mask.valid()) return {};
  const expr::ProgramData& program = *plan.spec.mask.data();
  expr::Bindings bindings;
  const auto check_order = earlier == nullptr || earlier->mask == nullptr ? expr::CheckOrder::kYes
                                                                          : expr::CheckOrder::kNo;
  if (Status s = expr::bind_slots(program.slots, batch.mask_values, bindings, check_order);
      !s.ok()) {
    return named(s);
  }
  KeyWindow window;
  if (window_of(program.mask_form, bindings, window)) {
    plan.spec.mask = {};
  } else {
    if (earlier != nullptr) {
      if (Status s = earlier_mask(batch, *earlier, bindings, plan.mask); !s.ok()) return named(s);
      if (plan.mask == nullptr) return resolve_programs(batch, nullptr, plan);
    } else {
      plan.mask = std::make_shared<PlanMask>(plan.spec.mask, std::move(bindings));
    }
    window = plan.mask->window();
  }
  window.narrow({plan.spec.window_left, plan.spec.window_right});
  plan.spec.window_left = window.left;
  plan.spec.window_right = window.right;
  return {};
}

// Fills `made`; `earlier` as above.
Status plan_into(const AttentionSpec& spec, const SequenceBatch& batch, const PlanOptions& options,
                 const PlanData* earlier, PlanData& made) {
  PageBound bound;
  if (Status status = validate_plan(spec, batch, options, bound); !status.ok()) return status;
  made.asked = spec;
  made.spec = normalized(spec);
  if (Status status = resolve_programs(batch, earlier, made); !status.ok()) return status;
  build(batch, bound, made);
  return options.verify_mask ? verify_mask(made) : Status();
}

}  // namespace

Plan::Plan() noexcept = default;
Plan::~Plan() = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

Status make_plan(const AttentionSpec& spec, const SequenceBatch& batch, Plan& plan,
                 const PlanOptions& options) {
  return guarded([&]() -> Status {
    if (plan.spare_ == nullptr) plan.spare_ = std::make_unique<PlanData>();
    Status status = plan_into(spec, batch, options, nullptr, *plan.spare_);
    if (status.ok()) std::swap(plan.data_, plan.spare_);
    return status;
  });
}

Status extend_plan(const SequenceBatch& batch, Plan& plan, const PlanOptions& options) {
  return guarded([&]() -> Status {
    if (!plan.valid()) return Status(Code::kInvalidArgument, "plan is empty, make_plan fills it");
    if (plan.spare_ == nullptr) plan.spare_ = std::make_unique<PlanData>();
    const PlanData& earlier = *plan.data_;
    Status status = plan_into(earlier.asked, batch, options, &earlier, *plan.spare_);
    if (status.ok()) std::swap(plan.data_, plan.spare_);
    return status;
  });
}

}  // namespace attnrt
