// SPDX-License-Identifier: Apache-2.0
// Samples a product of factors so that every pair of levels of any two factors is met early: most
// defects need one or two settings to meet, and the full product has billions of points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace attnrt::test {

class PairSampler {
 public:
  /// `levels[f]` is the number of levels of factor f.
  PairSampler(std::vector<int> levels, uint64_t seed) : levels_(std::move(levels)), random_(seed) {
    for (const int count : levels_) {
      offset_.push_back(total_);
      total_ += static_cast<size_t>(count);
    }
    met_.assign(total_ * total_, false);
  }

  /// One level per factor: of some random points the one that meets the most new pairs.
  std::vector<int> next() {
    constexpr int kCandidates = 24;
    std::vector<int> best;
    size_t best_new = 0;
    for (int i = 0; i < kCandidates; ++i) {
      std::vector<int> point;
      for (const int count : levels_) {
        point.push_back(static_cast<int>(random_() % static_cast<uint64_t>(count)));
      }
      const size_t gain = visit(point, false);
      if (best.empty() || gain > best_new) {
        best = point;
        best_new = gain;
      }
    }
    visit(best, true);
    return best;
  }

  /// Pairs of levels that no point has met yet.
  [[nodiscard]] size_t missing() const {
    size_t count = 0;
    for (size_t f = 0; f < levels_.size(); ++f) {
      for (size_t g = f + 1; g < levels_.size(); ++g) {
        for (size_t a = 0; a < static_cast<size_t>(levels_[f]); ++a) {
          for (size_t b = 0; b < static_cast<size_t>(levels_[g]); ++b) {
            if (!met_[(offset_[f] + a) * total_ + offset_[g] + b]) ++count;
          }
        }
      }
    }
    return count;
  }

 private:
  size_t visit(const std::vector<int>& point, bool mark) {
    size_t fresh = 0;
    for (size_t f = 0; f < point.size(); ++f) {
      for (size_t g = f + 1; g < point.size(); ++g) {
        const size_t row = offset_[f] + static_cast<size_t>(point[f]);
        const size_t column = offset_[g] + static_cast<size_t>(point[g]);
        if (met_[row * total_ + column]) continue;
        ++fresh;
        if (mark) met_[row * total_ + column] = true;
      }
    }
    return fresh;
  }

  std::vector<int> levels_;
  std::vector<size_t> offset_;
  size_t total_ = 0;
  std::vector<bool> met_;
  std::mt19937_64 random_;
};

}  // namespace attnrt::test
