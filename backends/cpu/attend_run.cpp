// SPDX-License-Identifier: Apache-2.0
// Runs the items of a plan on the workers of a context. They take units, largest first, from one
// counter; the unit that finishes a merge group merges it, but for long merges, which all workers
// share when no unit is left. Nothing waits for anything, so nothing can deadlock under work
// stealing, and no result depends on who computed what.
#include "backends/cpu/attend_run.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>

#include "backends/cpu/attend_programs.hpp"
#include "backends/cpu/attend_workspace.hpp"
#include "backends/cpu/call_sources.hpp"
#include "backends/cpu/cpu_features.hpp"
#include "backends/cpu/dispatch.hpp"
#include "backends/cpu/output_target.hpp"
#include "backends/cpu/schedule.hpp"
#include "backends/cpu/stopwatch.hpp"

namespace attnrt::cpu {
namespace {

bool chooses_dot(const KernelTable& table, const PlanData& plan, const AttendArgs& args) {
  // A hook sees weights of f32.
  const Arithmetic arithmetic =
      args.weight_hook.call != nullptr ? Arithmetic::kFloat32 : plan.spec.arithmetic;
  return uses_bf16_dot(table, arithmetic, args.q.dtype, args.kv.dtype,
                       args.rotary_q.cos != nullptr);
}

// The same for every item of a call, and for calls of any batch, row count and layout: results
// depend on none of them.
AttendKernel choose_kernel(const KernelTable& table, const PlanData& plan, const AttendArgs& args) {
  return chooses_dot(table, plan, args) ? table.attend_bf16_dot
                                        : table.attend[static_cast<int>(args.kv.dtype)];
}

// What the kernel multiplies panels of.
PanelShape panel_shape(const KernelTable& table, const PlanData& plan, const AttendArgs& args) {
  const DType dtype = chooses_dot(table, plan, args) ? DType::kBF16 : DType::kF32;
  return {dtype, static_cast<int32_t>(padded(plan.spec.head_dim)),
          static_cast<int32_t>(padded(plan.spec.head_dim_v))};
}

// What one worker brings to its units.
struct Worker {
  std::byte* scratch = nullptr;
  PanelProducts* panels = nullptr;
  bool timed = false;
  AttendStats stats;
};

// One call of attend: everything its workers share.
class AttendRun {
 public:
  AttendRun(const KernelTable& table, const AttendCall& call, std::span<std::byte> workspace,
            const AttendWorkspace& layout, int32_t workers, PanelSource* panels)
      : table_(table),
        panels_(panels),
        kernel_(choose_kernel(table, call.plan, call.args)),
        plan_(call.plan),
        args_(call.args),
        score_(call.score),
        programs_(call.plan),
        bound_(bind_programs(call, programs_)),
        layout_(layout),
        memory_(workspace.data()),
        schedule_(make_schedule(plan_, workers, memory_ + layout_.schedule)) {
    counters_ = reinterpret_cast<std::atomic<int32_t>*>(memory_);
    const size_t counters =
        static_cast<size_t>(plan_.merge_groups) * static_cast<size_t>(schedule_.merge_chunks);
    for (size_t i = 0; i < counters; ++i) new (counters_ + i) std::atomic<int32_t>(0);
    for (size_t i = 0; i < args_.branches.size(); ++i) {
      branches_[i] = branch_source(args_.kv, args_.branches[i]);
    }
  }

  [[nodiscard]] int32_t num_workers() const {
    return static_cast<int32_t>(std::min<int64_t>(schedule_.num_workers, schedule_.num_units));
  }

  void work(int32_t number) {
    Worker worker = worker_of(number);
    take_units(worker);
    add_stats_of(worker);
  }

  // Long merges, when all units are done.
  [[nodiscard]] int32_t num_mergers() const {
    if (stopped_.load(std::memory_order_relaxed) || args_.partial.acc != nullptr) return 0;
    return static_cast<int32_t>(
        std::min<int64_t>(schedule_.num_workers, schedule_.num_merge_pieces));
  }

  void merge(int32_t number) {
    Worker worker = worker_of(number);
    {
      const Stopwatch watch(worker.timed ? &worker.stats.merge_ns : nullptr);
      for (;;) {
        const int64_t index = next_merge_.fetch_add(1, std::memory_order_relaxed);
        if (index >= schedule_.num_merge_pieces) break;
        merge_rows(merge_piece_at(plan_, schedule_, index), worker.scratch);
      }
    }
    add_stats_of(worker);
  }

  void add_stats_to(AttendStats& stats) const {
    stats.units += units_.load(std::memory_order_relaxed);
    stats.attend_ns += attend_ns_.load(std::memory_order_relaxed);
    stats.merge_ns += merge_ns_.load(std::memory_order_relaxed);
  }

  [[nodiscard]] Status result() const {
    if (!stopped_.load(std::memory_order_relaxed)) {
      return panels_ == nullptr ? Status() : panels_->result();
    }
    return Status(Code::kCancelled, "the stop token asked for it, out and lse are incomplete");
  }

 private:
  [[nodiscard]] Worker worker_of(int32_t number) const {
    Worker worker;
    worker.scratch = memory_ + layout_.scratch + layout_.scratch_each * static_cast<size_t>(number);
    if (panels_ != nullptr) worker.panels = panels_->of_worker(number);
    worker.timed = args_.stats != nullptr;
    return worker;
  }

  void add_stats_of(const Worker& worker) {
    if (!worker.timed) return;
    units_.fetch_add(worker.stats.units, std::memory_order_relaxed);
    attend_ns_.fetch_add(worker.stats.attend_ns, std::memory_order_relaxed);
    merge_ns_.fetch_add(worker.stats.merge_ns, std::memory_order_relaxed);
  }

  void take_units(Worker& worker) {
    const bool may_stop = args_.stop.stop_possible();
    for (;;) {
      const int64_t index = next_unit_.fetch_add(1, std::memory_order_relaxed);
      if (index >= schedule_.num_units) return;
      if (may_stop && args_.stop.stop_requested()) {
        stopped_.store(true, std::memory_order_relaxed);
        return;
      }
      run_unit(unit_at(plan_, schedule_, index), worker);
    }
  }

  void run_unit(const Unit& unit, Worker& worker) {
    const PlanItem& item = plan_.items[static_cast<size_t>(unit.item)];
    const PlanTile& tile = plan_.tiles[static_cast<size_t>(item.tile)];
    AttendTask task = task_of(tile, unit, worker.scratch);
    task.panels = worker.panels;
    const KeyRange keys = unit_keys(plan_, unit);
    task.key_begin = keys.begin;
    task.key_end = keys.end;

    const bool caller_merges = args_.partial.acc != nullptr;
    const PartialTarget target =
        caller_merges ? callers_target(tile, unit) : own_target(tile, unit.token_begin);
    if (caller_merges) {
      task.partial = &target;
      task.partial_first_split = 0;
      clear_unseen_splits(target, tile, item, unit, keys);
    } else if (!unit.all_keys) {
      task.partial = &target;
      task.partial_first_split = tile.first_split;
    }
    {
      const Stopwatch watch(worker.timed ? &worker.stats.attend_ns : nullptr);
      kernel_(task);
    }
    ++worker.stats.units;
    if (caller_merges || unit.all_keys || unit.late_merge) return;
    const Stopwatch watch(worker.timed ? &worker.stats.merge_ns : nullptr);
    finish_merge_groups(item.tile, unit, worker.scratch);
  }

  [[nodiscard]] AttendTask task_of(const PlanTile& tile, const Unit& unit,
                                   std::byte* scratch) const {
    const AttentionSpec& spec = plan_.spec;
    const PlanSequence& seq = plan_.sequences[static_cast<size_t>(tile.seq)];
    const int64_t row = int64_t{seq.q_begin} + tile.token_begin + unit.token_begin;
    AttendTask task{};
    task.q = static_cast<const std::byte*>(args_.q.data) +
             row * args_.q.strides[0] * size_of(args_.q.dtype);
    task.q_dtype = args_.q.dtype;
    task.q_token_stride = args_.q.strides[0];
    task.q_head_stride = args_.q.strides[1];
    task.kv = kv_source(args_.kv, plan_.page_size, seq);
    task.branches = branches_;
    task.more_branches = spec.num_branches - 1;
    task.q_row = row;
    task.tokens = unit.token_end - unit.token_begin;
    task.heads_q = spec.num_heads_q;
    task.group = spec.num_heads_q / spec.num_heads_kv;
    task.head_dim = spec.head_dim;
    task.head_dim_v = spec.head_dim_v;
    task.kv_head_begin = unit.kv_head_begin;
    task.kv_head_end = unit.kv_head_end;
    task.kv_len = seq.kv_len;
    task.q_position = int64_t{seq.q_start} + tile.token_begin + unit.token_begin;
    task.window_left = spec.window_left;
    task.window_right = spec.window_right;
    task.scale = *spec.softmax_scale;
    task.softcap = score_.softcap;
    if (!score_.alibi_slopes.empty()) {
      const auto heads = static_cast<size_t>(spec.num_heads_q);
      const bool per_sequence = score_.alibi_slopes.size() != heads;
      task.alibi =
          score_.alibi_slopes.data() + (per_sequence ? static_cast<size_t>(tile.seq) * heads : 0);
    }
    task.seq = tile.seq;
    task.q_len = seq.q_len;
    task.mask = bound_.mask;
    task.score = bound_.score;
    task.pointwise = spec.normalizer == Normalizer::kPointwise;
    task.score_hook = args_.score_hook;
    task.weight_hook = args_.weight_hook;
    if (plan_.mask != nullptr) {
      const std::span<const expr::MaskRun> runs = plan_.runs_of(tile);
      // Null would be: all keys.
      static constexpr expr::MaskRun kNone{};
      task.runs = runs.empty() ? &kNone : runs.data();
      task.num_runs = static_cast<int32_t>(runs.size());
    }
    if (args_.rotary_q.cos != nullptr) task.rotary_q = &args_.rotary_q;
    task.rotary_q_constant = args_.rotary_q_constant;
    task.rotary_q_base = seq.q_start;
    task.out = output_at(row);
    task.ahead = !task.kv.packed16 || prefetches_next_block();
    task.close = !prefetches_next_block();
    task.scratch = scratch;
    return task;
  }

  [[nodiscard]] OutputTarget output_at(int64_t row) const {
    OutputTarget target = output_target(args_.out, args_.lse, plan_.total_q, row);
    target.sinks = plan_.spec.has_sinks ? args_.sinks.data() : nullptr;
    target.row_max = args_.row_max == nullptr ? nullptr : args_.row_max + row;
    target.row_max_head_stride = plan_.total_q;
    target.more_branches = plan_.spec.num_branches - 1;
    target.branch_weights = args_.branch_weights.data();
    target.heads_q = plan_.spec.num_heads_q;
    target.pointwise = plan_.spec.normalizer == Normalizer::kPointwise;
    target.scale = args_.epilogue.scale;
    target.gate = epilogue_operand(args_.epilogue.gate, row);
    target.residual = epilogue_operand(args_.epilogue.residual, row);
    return target;
  }

  [[nodiscard]] PartialTarget own_target(const PlanTile& tile, int32_t token) const {
    if (tile.num_items <= 1) return {};
    const AttentionSpec& spec = plan_.spec;
    const int64_t states = int64_t{spec.num_heads_q} * spec.num_branches;
    const int64_t state = (tile.partial_token + token) * states;
    PartialTarget target;
    target.acc = reinterpret_cast<float*>(memory_ + layout_.acc) + state * spec.head_dim_v;
    target.ref = reinterpret_cast<float*>(memory_ + layout_.ref) + state;
    target.sum = reinterpret_cast<float*>(memory_ + layout_.sum) + state;
    target.split_stride = int64_t{tile.token_end - tile.token_begin} * states;
    return target;
  }

  [[nodiscard]] PartialTarget callers_target(const PlanTile& tile, const Unit& unit) const {
    const AttentionSpec& spec = plan_.spec;
    const PlanSequence& seq = plan_.sequences[static_cast<size_t>(tile.seq)];
    const int64_t row = int64_t{seq.q_begin} + tile.token_begin + unit.token_begin;
    const int64_t state = row * spec.num_heads_q;
    PartialTarget target;
    target.acc = args_.partial.acc + state * spec.head_dim_v;
    target.ref = args_.partial.ref + state;
    target.sum = args_.partial.sum + state;
    target.split_stride = int64_t{plan_.total_q} * spec.num_heads_q;
    return target;
  }

  // The caller's partials have a slot for every split; those that the unit's kernel will not reach
  // get the neutral state. The first item of a tile answers for the splits before it, the last one
  // for those after it.
  void clear_unseen_splits(const PartialTarget& target, const PlanTile& tile, const PlanItem& item,
                           const Unit& unit, const KeyRange& keys) const {
    const bool first = unit.all_keys || item.split_begin == tile.first_split;
    const bool last = unit.all_keys || item.split_end == tile.first_split + tile.num_splits;
    const int32_t begin = first ? 0 : item.split_begin;
    const int32_t end = last ? args_.partial.num_splits : item.split_end;
    const int32_t seen_begin = keys.end == 0 ? end : keys.begin / kSplitKeys;
    const int32_t seen_end = keys.end == 0 ? end : (keys.end - 1) / kSplitKeys + 1;
    const int32_t heads_q = plan_.spec.num_heads_q;
    const int32_t group = heads_q / plan_.spec.num_heads_kv;
    const int32_t head_dim_v = plan_.spec.head_dim_v;
    for (int32_t split = begin; split < end; ++split) {
      if (split >= seen_begin && split < seen_end) continue;
      for (int32_t token = 0; token < unit.token_end - unit.token_begin; ++token) {
        for (int32_t h = unit.kv_head_begin * group; h < unit.kv_head_end * group; ++h) {
          const int64_t state = split * target.split_stride + int64_t{token} * heads_q + h;
          std::memset(target.acc + state * head_dim_v, 0,
                      static_cast<size_t>(head_dim_v) * sizeof(float));
          target.ref[state] = -std::numeric_limits<float>::infinity();
          target.sum[state] = 0.0f;
        }
      }
    }
  }

  // The last of the tile's items to arrive sees all states of these heads and folds them. Items of
  // a tile may be cut into different ranges of heads, so the smallest ranges are counted.
  void finish_merge_groups(int32_t tile_index, const Unit& unit, std::byte* scratch) {
    const PlanTile& tile = plan_.tiles[static_cast<size_t>(tile_index)];
    const MergeChunks chunks = merge_chunks_of(plan_, schedule_, unit);
    for (int32_t chunk = chunks.begin; chunk < chunks.end; ++chunk) {
      const int64_t counter = int64_t{tile.merge_group} * schedule_.merge_chunks + chunk;
      if (counters_[counter].fetch_add(1, std::memory_order_acq_rel) + 1 != tile.num_items)
        continue;
      merge_rows(merge_piece_of(plan_, schedule_, tile_index, chunk), scratch);
    }
  }

  void merge_rows(const MergePiece& piece, std::byte* scratch) const {
    const PlanTile& tile = plan_.tiles[static_cast<size_t>(piece.tile)];
    const PlanSequence& seq = plan_.sequences[static_cast<size_t>(tile.seq)];
    const PartialTarget target = own_target(tile, piece.token_begin);
    MergeTaskRows task{};
    task.partials = &target;
    task.num_splits = &tile.num_splits;
    task.num_targets = 1;
    task.tokens = piece.token_end - piece.token_begin;
    task.head_begin = piece.head_begin;
    task.head_end = piece.head_end;
    task.heads_q = plan_.spec.num_heads_q;
    task.head_dim_v = plan_.spec.head_dim_v;
    task.out = output_at(int64_t{seq.q_begin} + tile.token_begin + piece.token_begin);
    task.scratch = reinterpret_cast<float*>(scratch);
    table_.merge(task);
  }

  const KernelTable& table_;
  PanelSource* const panels_;  // null: the kernels need none
  const AttendKernel kernel_;
  const PlanData& plan_;
  const AttendArgs& args_;
  const BoundScore& score_;
  const Programs programs_;
  const BoundPrograms bound_;
  const AttendWorkspace layout_;
  std::byte* memory_;
  const Schedule schedule_;
  std::atomic<int32_t>* counters_;
  BranchSource branches_[kMaxBranches] = {};
  std::atomic<int64_t> next_unit_{0}, next_merge_{0};
  std::atomic<bool> stopped_{false};
  std::atomic<int64_t> units_{0}, attend_ns_{0}, merge_ns_{0};
};

}  // namespace

size_t attend_workspace_bytes(const PlanData& plan, int32_t workers) noexcept {
  return lay_out_attend(plan, workers).total;
}

Status run_attend(const KernelTable& table, WorkerTeam& team, const AttendCall& call,
                  std::span<std::byte> workspace, PanelSource* panels) {
  // An arena of one slot has a second one while work is enqueued in it, so its size may have risen
  // since the workspace was measured: no more workers than it has room for.
  int32_t threads = team.size();
  AttendWorkspace layout = lay_out_attend(call.plan, threads);
  while (threads > 1 && layout.total > workspace.size()) {
    layout = lay_out_attend(call.plan, --threads);
  }
  if (panels != nullptr) {
    Status status = panels->prepare(panel_shape(table, call.plan, call.args), threads);
    if (!status.ok()) return status;
  }
  AttendRun run(table, call, workspace, layout, threads, panels);
  team.run(run.num_workers(), [&](int32_t worker) { run.work(worker); });
  if (const int32_t mergers = run.num_mergers(); mergers > 0) {
    team.run(mergers, [&](int32_t worker) { run.merge(worker); });
  }
  if (call.args.stats != nullptr) run.add_stats_to(*call.args.stats);
  return run.result();
}

}  // namespace attnrt::cpu
