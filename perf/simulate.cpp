// SPDX-License-Identifier: Apache-2.0
// A queue of threads by the time at which they are free next.
#include "perf/simulate.hpp"

#include <algorithm>
#include <queue>
#include <vector>

#include "backends/cpu/schedule.hpp"
#include "src/plan_cost.hpp"
#include "src/plan_data.hpp"

namespace attnrt::perf {
namespace {

using cpu::ItemCut;
using cpu::MergeChunks;
using cpu::Schedule;
using cpu::Unit;

class Simulation {
 public:
  Simulation(const PlanData& plan, int32_t threads)
      : plan_(plan),
        memory_((cpu::schedule_bytes(plan) + sizeof(int64_t) - 1) / sizeof(int64_t)),
        schedule_(cpu::make_schedule(plan, threads, memory_.data())),
        arrived_(static_cast<size_t>(plan.merge_groups) *
                 static_cast<size_t>(schedule_.merge_chunks)) {
    for (int32_t worker = 0; worker < schedule_.num_workers; ++worker) take(0.0);
  }

  SimulatedCall run() {
    while (!busy_.empty()) {
      const Event event = busy_.top();
      busy_.pop();
      call_.largest_cost = std::max(call_.largest_cost, event.time);
      const double merge = event.unit < 0 ? 0.0 : finish(event.unit);
      if (merge > 0.0) {
        call_.cost += merge;
        call_.merge_cost += merge;
        busy_.push({event.time + merge, kMerged});
      } else {
        take(event.time);
      }
    }
    run_late_merges();
    call_.workers = schedule_.num_workers;
    call_.items = static_cast<int64_t>(plan_.items.size());
    call_.units = schedule_.num_units;
    for (int64_t i = 0; i < call_.items; ++i) {
      const ItemCut& cut = schedule_.cuts[i];
      if (cut.head_chunks == 0) continue;
      const Unit whole{.item = i,
                       .kv_head_begin = tile_of(i).kv_head_begin,
                       .kv_head_end = tile_of(i).kv_head_end,
                       .token_begin = 0,
                       .token_end = tokens_of(tile_of(i)),
                       .all_keys = cut.all_keys};
      call_.item_cost += static_cast<double>(cpu::unit_cost(plan_, whole));
    }
    return call_;
  }

 private:
  static constexpr int64_t kMerged = -1;

  // A thread is done with a unit, or with the merge after it.
  struct Event {
    double time;
    int64_t unit;
    bool operator>(const Event& other) const { return time > other.time; }
  };

  [[nodiscard]] const PlanTile& tile_of(int64_t item) const {
    return plan_.tiles[static_cast<size_t>(plan_.items[static_cast<size_t>(item)].tile)];
  }

  static int32_t tokens_of(const PlanTile& tile) { return tile.token_end - tile.token_begin; }

  void take(double time) {
    if (next_ == schedule_.num_units) return;
    const auto cost =
        static_cast<double>(cpu::unit_cost(plan_, cpu::unit_at(plan_, schedule_, next_)));
    call_.cost += cost;
    busy_.push({time + cost, next_++});
  }

  // What the thread has to merge because the unit was the last of its groups, as the executor does.
  double finish(int64_t index) {
    const Unit unit = cpu::unit_at(plan_, schedule_, index);
    const PlanTile& tile = tile_of(unit.item);
    if (unit.all_keys || unit.late_merge) return 0.0;
    const int64_t rows =
        int64_t{tokens_of(tile)} * (plan_.spec.num_heads_q / plan_.spec.num_heads_kv);
    const auto each = static_cast<double>(merge_cost(rows, tile.num_splits));
    const MergeChunks chunks = merge_chunks_of(plan_, schedule_, unit);
    double cost = 0.0;
    for (int32_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
      const int64_t counter = int64_t{tile.merge_group} * schedule_.merge_chunks + chunk;
      if (++arrived_[static_cast<size_t>(counter)] != tile.num_items) continue;
      const int32_t heads = cpu::head_at(heads_of(tile), chunk + 1, schedule_.merge_chunks) -
                            cpu::head_at(heads_of(tile), chunk, schedule_.merge_chunks);
      cost += each * heads;
    }
    return cost;
  }

  // Every thread has waited for the last unit.
  void run_late_merges() {
    std::priority_queue<double, std::vector<double>, std::greater<>> free_at;
    for (int32_t i = 0; i < schedule_.num_workers; ++i) free_at.push(call_.largest_cost);
    for (int64_t i = 0; i < schedule_.num_merge_pieces; ++i) {
      const cpu::MergePiece piece = cpu::merge_piece_at(plan_, schedule_, i);
      const int64_t rows =
          int64_t{piece.token_end - piece.token_begin} * (piece.head_end - piece.head_begin);
      const auto cost = static_cast<double>(
          merge_cost(rows, plan_.tiles[static_cast<size_t>(piece.tile)].num_splits));
      const double end = free_at.top() + cost;
      free_at.pop();
      free_at.push(end);
      call_.cost += cost;
      call_.merge_cost += cost;
      call_.largest_cost = std::max(call_.largest_cost, end);
    }
  }

  const PlanData& plan_;
  std::vector<int64_t> memory_;
  const Schedule schedule_;
  std::vector<int32_t> arrived_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> busy_;
  int64_t next_ = 0;
  SimulatedCall call_;
};

}  // namespace

SimulatedCall simulate_call(const Plan& plan, int32_t threads) {
  const PlanData& data = *plan.data();
  SimulatedCall call = Simulation(data, threads).run();
  for (const PlanTile& tile : data.tiles) {
    call.pieces += int64_t{std::max(1, tile.num_splits)} * heads_of(tile);
  }
  return call;
}

}  // namespace attnrt::perf
