// SPDX-License-Identifier: Apache-2.0
// What a plan says about itself: counts, sparsity, pictures.
#include <algorithm>
#include <string>
#include <vector>

#include "attnrt/attention.hpp"
#include "src/expr/sparsity.hpp"
#include "src/plan_data.hpp"
#include "src/visible_range.hpp"

namespace attnrt {
namespace {

KeyRange keys_of_token(const PlanData& plan, const PlanTile& tile, int32_t token) {
  const PlanSequence& seq = plan.sequences[static_cast<size_t>(tile.seq)];
  return visible_keys(int64_t{seq.q_start} + token, seq.kv_len, plan.spec.window_left,
                      plan.spec.window_right);
}

int64_t overlap(const KeyRange& keys, int32_t begin, int32_t end) {
  return std::max(0, std::min(keys.end, end) - std::max(keys.begin, begin));
}

// Query heads of the group aside, that all see the same number.
int64_t scores_of(const PlanData& plan, const PlanTile& tile) {
  int64_t scores = 0;
  for (int32_t token = tile.token_begin; token < tile.token_end; ++token) {
    const KeyRange keys = keys_of_token(plan, tile, token);
    if (plan.mask == nullptr) scores += keys.end - keys.begin;
    for (const expr::MaskRun& run : plan.runs_of(tile)) {
      scores += overlap(keys, run.key_begin, run.key_end);
    }
  }
  return scores;
}

// Appends keys [begin, end), full or not, to the runs of the tile at hand.
void add_run(expr::RunList& list, int32_t begin, int32_t end, bool full) {
  if (begin < end) list.runs.emplace_back(begin, end, full);
}

// Keys that the mask leaves to the windows: full where all rows see them, in whole blocks.
void add_windowed(expr::RunList& list, int32_t begin, int32_t end, const KeyRange& seen_by_all) {
  const auto block_up = [](int32_t key) {
    return (int64_t{key} + kSparsityKeys - 1) / kSparsityKeys * kSparsityKeys;
  };
  const int32_t first =
      static_cast<int32_t>(std::min<int64_t>(block_up(std::max(begin, seen_by_all.begin)), end));
  const int32_t seen_end = std::min(end, seen_by_all.end);
  const int32_t last =
      std::max(first, seen_end == end ? end : seen_end / kSparsityKeys * kSparsityKeys);
  add_run(list, begin, first, false);
  add_run(list, first, last, true);
  add_run(list, last, end, false);
}

void add_tile(const PlanData& plan, const PlanTile& tile, expr::RunList& list) {
  const KeyRange top = keys_of_token(plan, tile, tile.token_begin);
  const KeyRange bottom = keys_of_token(plan, tile, tile.token_end - 1);
  const bool all = top.end != 0 && bottom.end != 0;
  const KeyRange seen_by_all = all ? KeyRange{bottom.begin, top.end} : KeyRange{0, 0};
  if (plan.mask == nullptr) add_windowed(list, tile.key_begin, tile.key_end, seen_by_all);
  for (const expr::MaskRun& run : plan.runs_of(tile)) {
    if (run.undecided != 0) {
      add_run(list, run.key_begin, run.key_end, false);
    } else {
      add_windowed(list, run.key_begin, run.key_end, seen_by_all);
    }
  }
  list.tile_end.push_back(static_cast<int32_t>(list.runs.size()));
}

// Calls visit(first tile, runs, request) for each sequence and range of heads that was planned
// together.
template <class Visit>
void for_each_part(const PlanData& plan, const Visit& visit) {
  expr::RunList list;
  for (size_t t = 0; t < plan.tiles.size();) {
    const PlanTile& first = plan.tiles[t];
    const PlanSequence& seq = plan.sequences[static_cast<size_t>(first.seq)];
    list.clear();
    for (; t < plan.tiles.size() && plan.tiles[t].seq == first.seq &&
           plan.tiles[t].kv_head_begin == first.kv_head_begin;
         ++t) {
      add_tile(plan, plan.tiles[t], list);
    }
    visit(first, list,
          expr::RunRequest{.q_begin = 0,
                           .q_end = seq.q_len,
                           .kv_len = seq.kv_len,
                           .tile_tokens = first.token_end - first.token_begin,
                           .block_keys = kSparsityKeys});
  }
}

std::string percent(double share) {
  std::string text = std::to_string(share * 100.0);
  return text.substr(0, text.find('.') + 2) + "%";
}

}  // namespace

int32_t Plan::batch_size() const noexcept {
  return valid() ? static_cast<int32_t>(data_->sequences.size()) : 0;
}

int32_t Plan::total_q() const noexcept { return valid() ? data_->total_q : 0; }

int32_t Plan::num_splits() const noexcept { return valid() ? data_->max_splits : 0; }

int64_t Plan::num_items() const noexcept {
  return valid() ? static_cast<int64_t>(data_->items.size()) : 0;
}

int64_t Plan::partial_bytes() const noexcept { return valid() ? attnrt::partial_bytes(*data_) : 0; }

int64_t Plan::num_scores() const noexcept {
  if (!valid()) return 0;
  const int64_t rows = rows_of_token(data_->spec);
  int64_t scores = 0;
  for (const PlanTile& tile : data_->tiles) {
    scores += scores_of(*data_, tile) * heads_of(tile) * rows;
  }
  return scores;
}

int64_t Plan::kv_bytes(DType dtype) const noexcept {
  if (!valid()) return 0;
  const AttentionSpec& spec = data_->spec;
  const int64_t elements = int64_t{spec.head_dim} * spec.num_branches + spec.head_dim_v;
  return data_->keys_seen * elements * size_of(dtype);
}

Sparsity Plan::sparsity() const {
  Sparsity all;
  if (!valid()) return all;
  for_each_part(*data_, [&](const PlanTile& tile, const expr::RunList& list,
                            const expr::RunRequest& request) {
    const expr::Sparsity part = expr::sparsity_of(list, request);
    const int64_t heads = heads_of(tile);
    all.empty_blocks += part.empty_blocks * heads;
    all.partial_blocks += part.partial_blocks * heads;
    all.full_blocks += part.full_blocks * heads;
  });
  return all;
}

std::string Plan::to_string(int32_t sequences) const {
  if (!valid()) return "no plan\n";
  const auto number = [](size_t n, const char* what) { return std::to_string(n) + " " + what; };
  std::string text = number(data_->sequences.size(), "sequences, ") +
                     number(static_cast<size_t>(data_->total_q), "query tokens, ") +
                     number(data_->tiles.size(), "tiles, ") +
                     number(data_->items.size(), "items, ") + percent(sparsity().sparsity()) +
                     " of the blocks empty\n";
  for_each_part(*data_, [&](const PlanTile& tile, const expr::RunList& list,
                            const expr::RunRequest& request) {
    if (tile.seq >= sequences) return;
    const PlanSequence& seq = data_->sequences[static_cast<size_t>(tile.seq)];
    text += "sequence " + std::to_string(tile.seq);
    if (heads_of(tile) < data_->spec.num_heads_kv) {
      text += ", KV head " + std::to_string(tile.kv_head_begin);
    }
    text += ": " + std::to_string(seq.q_len) + " queries from position " +
            std::to_string(seq.q_start) + ", " + std::to_string(seq.kv_len) + " keys\n";
    text += expr::picture_of(list, request);
  });
  return text;
}

}  // namespace attnrt
