// SPDX-License-Identifier: Apache-2.0
#include "src/expr/sparsity.hpp"

#include <algorithm>

namespace attnrt::expr {
namespace {

int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t num_blocks(const RunRequest& request) { return div_up(request.kv_len, request.block_keys); }

Point point_at(const SequenceScope& scope, int32_t h) {
  Point point;
  point.b = scope.b;
  point.h = h;
  const int32_t group =
      std::max(1, (scope.h_end - scope.h_begin) / std::max(1, scope.hkv_end - scope.hkv_begin));
  point.hkv = scope.hkv_begin + (h - scope.h_begin) / group;
  point.q_len = scope.q_len;
  point.kv_len = scope.kv_len;
  return point;
}

// Kinds that occur among the blocks behind one character of a picture.
struct Cell {
  bool empty = false;
  bool partial = false;
  bool full = false;

  [[nodiscard]] char character() const {
    if (partial || (empty && full)) return '+';
    return full ? '#' : '.';
  }
};

// Calls visit(block, run or null) for each block of a tile.
template <class Visit>
void for_each_block(std::span<const KeyRun> runs, const RunRequest& request, const Visit& visit) {
  size_t i = 0;
  for (int64_t block = 0; block < num_blocks(request); ++block) {
    const int64_t begin = block * request.block_keys;
    while (i < runs.size() && runs[i].key_end() <= begin) ++i;
    const bool hit = i < runs.size() && runs[i].key_begin() < begin + request.block_keys;
    visit(block, hit ? &runs[i] : nullptr);
  }
}

class Verifier {
 public:
  Verifier(Evaluator& mask, const RunRequest& request) : mask_(mask), request_(request) {}

  // Elements of keys [begin, end) in all rows of a tile must be `visible`.
  std::optional<WrongElement> check(Point point, int64_t tile, int64_t begin, int64_t end,
                                    bool visible) {
    const int64_t q_begin = request_.q_begin + tile * request_.tile_tokens;
    const int64_t q_end = std::min<int64_t>(request_.q_end, q_begin + request_.tile_tokens);
    for (point.q = q_begin; point.q < q_end; ++point.q) {
      for (point.kv = begin; point.kv < end; ++point.kv) {
        if (mask_.predicate(point) == visible) continue;
        return WrongElement{tile, static_cast<int32_t>(point.h), point.q, point.kv, !visible};
      }
    }
    return std::nullopt;
  }

 private:
  Evaluator& mask_;
  const RunRequest& request_;
};

}  // namespace

Sparsity sparsity_of(const RunList& runs, const RunRequest& request) {
  Sparsity out;
  for (int64_t tile = 0; tile < runs.num_tiles(); ++tile) {
    int64_t live = 0;
    for (const KeyRun& run : runs.tile(tile)) {
      // Cropped runs count as the blocks they touch.
      const int64_t blocks =
          div_up(run.key_end(), request.block_keys) - run.key_begin() / request.block_keys;
      (run.full() ? out.full_blocks : out.partial_blocks) += blocks;
      live += blocks;
    }
    out.empty_blocks += num_blocks(request) - live;
  }
  return out;
}

std::string picture_of(const RunList& runs, const RunRequest& request, int32_t width,
                       int32_t height) {
  const int64_t columns = std::min<int64_t>(width, num_blocks(request));
  const int64_t lines = std::min<int64_t>(height, runs.num_tiles());
  std::string text;
  std::vector<Cell> cells;
  for (int64_t line = 0; line < lines; ++line) {
    cells.assign(static_cast<size_t>(columns), {});
    const int64_t end = (line + 1) * runs.num_tiles() / lines;
    for (int64_t tile = line * runs.num_tiles() / lines; tile < end; ++tile) {
      for_each_block(runs.tile(tile), request, [&](int64_t block, const KeyRun* run) {
        Cell& cell = cells[static_cast<size_t>(block * columns / num_blocks(request))];
        cell.empty |= run == nullptr;
        cell.full |= run != nullptr && run->full();
        cell.partial |= run != nullptr && !run->full();
      });
    }
    for (const Cell& cell : cells) text += cell.character();
    text += '\n';
  }
  return text;
}

std::optional<WrongElement> verify_runs(Evaluator& mask, const SequenceScope& scope,
                                        const RunRequest& request, const RunList& runs) {
  Verifier verifier(mask, request);
  for (int64_t tile = 0; tile < runs.num_tiles(); ++tile) {
    for (int32_t h = scope.h_begin; h < scope.h_end; ++h) {
      const Point point = point_at(scope, h);
      int64_t done = 0;
      for (const KeyRun& run : runs.tile(tile)) {
        if (auto wrong = verifier.check(point, tile, done, run.key_begin(), false)) return wrong;
        if (run.full()) {
          auto wrong = verifier.check(point, tile, run.key_begin(), run.key_end(), true);
          if (wrong) return wrong;
        }
        done = run.key_end();
      }
      if (auto wrong = verifier.check(point, tile, done, request.kv_len, false)) return wrong;
    }
  }
  return std::nullopt;
}

void add_interval(RowIntervals& out, int32_t begin, int32_t end) {
  if (begin >= end) return;
  const bool first = std::ssize(out.intervals) == out.row_begin.back();
  if (!first && out.intervals.back().end == begin) {
    out.intervals.back().end = end;
  } else {
    out.intervals.push_back({begin, end});
  }
}

RowIntervals row_intervals(Evaluator& mask, const SequenceScope& scope, int32_t h,
                           const RunRequest& request, const RunList& runs) {
  RowIntervals out;
  Point point = point_at(scope, h);
  for (point.q = request.q_begin; point.q < request.q_end; ++point.q) {
    for (const KeyRun& run : runs.tile((point.q - request.q_begin) / request.tile_tokens)) {
      if (run.full()) {
        add_interval(out, run.key_begin(), run.key_end());
        continue;
      }
      for (int32_t key = run.key_begin(); key < run.key_end(); ++key) {
        point.kv = key;
        if (mask.predicate(point)) add_interval(out, key, key + 1);
      }
    }
    out.row_begin.push_back(static_cast<int64_t>(out.intervals.size()));
  }
  return out;
}

}  // namespace attnrt::expr
