// SPDX-License-Identifier: Apache-2.0
#include "src/expr/plan_runs.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace attnrt::expr {
namespace {

// Refinement that seldom succeeds is given up: for closed forms it never does.
constexpr int64_t kPatience = 512;
constexpr int64_t kPatiencePerSuccess = 16;

int32_t half_of(int32_t length) {
  return static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(length)) / 2);
}

struct Span {
  int64_t begin = 0;
  int64_t end = 0;
};

class Planner {
 public:
  Planner(TileClassifier& classifier, const RunRequest& request, RunList& out)
      : classifier_(classifier), request_(request), out_(out) {}

  void run() {
    const int32_t tokens = request_.q_end - request_.q_begin;
    if (tokens <= 0) return;
    const int32_t tiles = (tokens - 1) / request_.tile_tokens + 1;
    if (request_.kv_len > 0) {
      segments_.push_back({0, (request_.kv_len - 1) / request_.block_keys + 1, false, 0});
    }
    descend({0, tiles}, 0, segments_.size());
  }

 private:
  struct Segment {  // of blocks of keys
    int32_t begin = 0;
    int32_t end = 0;
    bool full = false;  // else undecided
    uint64_t undecided = 0;

    // Whether the two may be one run.
    [[nodiscard]] bool is_like(const Segment& other) const {
      return full == other.full && (undecided == 0) == (other.undecided == 0);
    }
  };
  struct Tiles {
    int32_t begin = 0;
    int32_t end = 0;
  };

  [[nodiscard]] Span positions(Tiles tiles) const {
    const auto at = [&](int32_t tile) {
      return request_.q_begin + int64_t{tile} * request_.tile_tokens;
    };
    return {at(tiles.begin), std::min<int64_t>(at(tiles.end), request_.q_end)};
  }

  [[nodiscard]] Span keys(int32_t block_begin, int32_t block_end) const {
    return {int64_t{block_begin} * request_.block_keys,
            std::min<int64_t>(int64_t{block_end} * request_.block_keys, request_.kv_len)};
  }

  TileClass classify(int32_t block_begin, int32_t block_end) {
    const Span range = keys(block_begin, block_end);
    return classifier_.classify(range.begin, range.end);
  }

  // Tiles share what is decided for all of them together. Segments [first, last) are what their
  // parent left.
  void descend(Tiles tiles, size_t first, size_t last) {
    const size_t mark = segments_.size();
    const bool leaf = tiles.end - tiles.begin == 1;
    queries_ = positions(tiles);
    classifier_.set_queries(queries_.begin, queries_.end);
    // Keys are looked at about as coarsely as queries: finer, and the tiles below would repeat it.
    const int64_t blocks = (queries_.end - queries_.begin) / request_.block_keys;
    const int32_t grain = leaf ? 1 : static_cast<int32_t>(std::max<int64_t>(1, blocks));
    undecided_ = false;
    for (size_t i = first; i < last; ++i) {
      const Segment segment = segments_[i];
      if (segment.full) {
        push(segment, mark);
      } else if (segment.end - segment.begin > grain && segment.end - segment.begin <= 2 * grain) {
        halve(segment, grain, leaf, mark);
      } else {
        decide(segment, grain, leaf, mark);
      }
    }
    if (leaf || !undecided_) {
      emit(tiles, mark);
    } else {
      const size_t end = segments_.size();
      const int32_t middle = tiles.begin + half_of(tiles.end - tiles.begin);
      descend({tiles.begin, middle}, mark, end);
      descend({middle, tiles.end}, mark, end);
    }
    segments_.resize(mark);
  }

  void decide(Segment segment, int32_t grain, bool leaf, size_t mark) {
    TileClass found = classify(segment.begin, segment.end);
    if (found == TileClass::kPartial && segment.end - segment.begin > grain) {
      halve(segment, grain, leaf, mark);
      return;
    }
    segment.undecided = 0;
    if (found == TileClass::kPartial && leaf) {
      if (request_.residuals) {
        segment.undecided = classifier_.undecided_conjuncts() & ~request_.decided_elsewhere;
      }
      found = refine(keys(segment.begin, segment.end));
    }
    if (found == TileClass::kEmpty) return;
    segment.full = found == TileClass::kFull;
    if (segment.full) segment.undecided = 0;
    undecided_ |= !segment.full;
    push(segment, leaf || segment.full ? mark : segments_.size());
  }

  void halve(Segment segment, int32_t grain, bool leaf, size_t mark) {
    const int32_t middle = segment.begin + half_of(segment.end - segment.begin);
    decide({segment.begin, middle, false, 0}, grain, leaf, mark);
    decide({middle, segment.end, false, 0}, grain, leaf, mark);
  }

  // Joins a segment to the one before it, down to `mark`, where both are of one kind.
  void push(Segment segment, size_t mark) {
    if (segments_.size() > mark && segments_.back().end == segment.begin &&
        segments_.back().is_like(segment)) {
      segments_.back().end = segment.end;
      segments_.back().undecided |= segment.undecided;
    } else {
      segments_.push_back(segment);
    }
  }

  TileClass refine(Span range) {
    if (request_.refine_depth <= 0 || attempts_ > kPatience + kPatiencePerSuccess * successes_) {
      return TileClass::kPartial;
    }
    ++attempts_;
    TileClass found = corners(range);
    if (found != TileClass::kPartial) {
      const bool proved = prove_quarters(found, queries_, range, request_.refine_depth - 1);
      successes_ += proved ? 1 : 0;
      if (!proved) found = TileClass::kPartial;
    }
    classifier_.set_queries(queries_.begin, queries_.end);
    return found;
  }

  // What all four corner elements are, or partial.
  TileClass corners(Span range) {
    TileClass all = TileClass::kPartial;
    for (const int64_t q : {queries_.begin, queries_.end - 1}) {
      classifier_.set_queries(q, q + 1);
      for (const int64_t key : {range.begin, range.end - 1}) {
        const TileClass corner = classifier_.classify(key, key + 1);
        if (corner == TileClass::kPartial) return corner;
        if (all != TileClass::kPartial && all != corner) return TileClass::kPartial;
        all = corner;
      }
    }
    return all;
  }

  bool prove_quarters(TileClass wanted, Span q, Span range, int32_t depth) {
    const int64_t q_middle = q.begin + (q.end - q.begin) / 2;
    const int64_t key_middle = range.begin + (range.end - range.begin) / 2;
    for (const Span rows : {Span{q.begin, q_middle}, Span{q_middle, q.end}}) {
      if (rows.begin == rows.end) continue;
      for (const Span columns : {Span{range.begin, key_middle}, Span{key_middle, range.end}}) {
        if (columns.begin == columns.end) continue;
        classifier_.set_queries(rows.begin, rows.end);
        const TileClass found = classifier_.classify(columns.begin, columns.end);
        if (found == wanted) continue;
        if (found != TileClass::kPartial || depth == 0) return false;
        if (!prove_quarters(wanted, rows, columns, depth - 1)) return false;
      }
    }
    return true;
  }

  void emit(Tiles tiles, size_t mark) {
    for (int32_t tile = tiles.begin; tile < tiles.end; ++tile) {
      const size_t first = out_.runs.size();
      for (size_t i = mark; i < segments_.size(); ++i) {
        const Span range = keys(segments_[i].begin, segments_[i].end);
        out_.runs.emplace_back(static_cast<int32_t>(range.begin), static_cast<int32_t>(range.end),
                               segments_[i].full);
        if (request_.residuals) out_.undecided.push_back(segments_[i].undecided);
      }
      if (request_.crop_keys > 0 && out_.runs.size() > first) crop(out_.runs[first], true);
      if (request_.crop_keys > 0 && out_.runs.size() > first) crop(out_.runs.back(), false);
      out_.tile_end.push_back(static_cast<int32_t>(out_.runs.size()));
    }
  }

  // Moves one end of a partial run inwards, over parts of its outermost block that are empty. At
  // least crop_keys keys are left.
  void crop(KeyRun& run, bool at_begin) {
    if (run.full()) return;
    int32_t begin = run.key_begin();
    int32_t end = run.key_end();
    for (int32_t step = request_.block_keys / 2; step >= request_.crop_keys; step /= 2) {
      if (end - begin <= step) continue;
      if (at_begin && classifier_.classify(begin, begin + step) == TileClass::kEmpty) {
        begin += step;
      } else if (!at_begin && classifier_.classify(end - step, end) == TileClass::kEmpty) {
        end -= step;
      }
    }
    run = KeyRun(begin, end, false);
  }

  TileClassifier& classifier_;
  const RunRequest& request_;
  RunList& out_;
  std::vector<Segment> segments_;  // a stack: each level of descend() on top of its parent's
  Span queries_;
  bool undecided_ = false;
  int64_t attempts_ = 0;
  int64_t successes_ = 0;
};

}  // namespace

void append_runs(TileClassifier& classifier, const RunRequest& request, RunList& out) {
  assert(request.tile_tokens > 0);
  assert(std::has_single_bit(static_cast<uint32_t>(request.block_keys)));
  Planner(classifier, request, out).run();
}

std::vector<HeadClass> head_classes(const ProgramData& program, int32_t num_heads_q,
                                    int32_t num_heads_kv) {
  if ((program.depends & kDependsH) == 0) return {{0, num_heads_q, 0, num_heads_kv}};
  std::vector<HeadClass> classes;
  const int32_t group = num_heads_q / num_heads_kv;
  for (int32_t hkv = 0; hkv < num_heads_kv; ++hkv) {
    classes.push_back({hkv * group, (hkv + 1) * group, hkv, hkv + 1});
  }
  return classes;
}

}  // namespace attnrt::expr
