// SPDX-License-Identifier: Apache-2.0
#include "src/expr/sparsity.hpp"

#include <algorithm>

namespace attnrt::expr {
namespace {

int64_t div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t num_blocks(const RunRequest& request) { return div_up(request.kv_len, request.block_keys); }

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

}  // namespace attnrt::expr
