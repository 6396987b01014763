// SPDX-License-Identifier: Apache-2.0
// Speculative decoding: a tree of draft tokens is verified in one call, for two sequences at once.
// A token sees its sequence and its ancestors; the mask comes from the list of parents. Checked
// against every path from the root to a leaf, attended alone.
#include <algorithm>
#include <attnrt/attnrt.hpp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

namespace {

using attnrt::DType;
using attnrt::Status;
namespace expr = attnrt::expr;

constexpr int32_t kHeadsQ = 8;
constexpr int32_t kHeadsKv = 2;
constexpr int32_t kHeadDim = 64;
constexpr size_t kRow = size_t{kHeadsQ} * kHeadDim;
constexpr int32_t kSlots = 1024;  // pages of one key, so that a path is kept by listing its slots
constexpr int32_t kPrefixes[] = {700, 133};
constexpr int32_t kParents[] = {-1, -1, 0, 0, 1, 2, 2, 3, 5, 5, 7, 8};
constexpr int32_t kNodes = std::size(kParents);

// Sequences of query rows and of slots of the cache.
struct Sequences {
  std::vector<int32_t> cu_seqlens_q{0}, rows;
  std::vector<int32_t> indptr{0}, slots;

  void finish_sequence() {
    cu_seqlens_q.push_back(static_cast<int32_t>(rows.size()));
    indptr.push_back(static_cast<int32_t>(slots.size()));
  }
};

// Each sequence with its whole tree. Rows and slots are numbered through: sequence 0's prefix and
// tree, then those of sequence 1. (The engine rotates a draft token by its depth, not its slot.)
Sequences with_trees() {
  Sequences sequences;
  int32_t row = 0, slot = 0;
  for (const int32_t prefix : kPrefixes) {
    for (int32_t i = 0; i < kNodes; ++i) sequences.rows.push_back(row++);
    for (int32_t i = 0; i < prefix + kNodes; ++i) sequences.slots.push_back(slot++);
    sequences.finish_sequence();
  }
  return sequences;
}

// Each path of each sequence's tree as a sequence of its own.
Sequences with_paths() {
  Sequences sequences;
  int32_t first_row = 0, first_slot = 0;
  for (const int32_t prefix : kPrefixes) {
    for (int32_t leaf = 0; leaf < kNodes; ++leaf) {
      if (std::count(std::begin(kParents), std::end(kParents), leaf) != 0) continue;
      std::vector<int32_t> path;
      for (int32_t node = leaf; node >= 0; node = kParents[node]) path.push_back(node);
      std::reverse(path.begin(), path.end());
      for (int32_t i = 0; i < prefix; ++i) sequences.slots.push_back(first_slot + i);
      for (const int32_t node : path) {
        sequences.slots.push_back(first_slot + prefix + node);
        sequences.rows.push_back(first_row + node);
      }
      sequences.finish_sequence();
    }
    first_row += kNodes;
    first_slot += prefix + kNodes;
  }
  return sequences;
}

// out[i] is what row `rows[i]` of q gets.
Status run(attnrt::AttentionSpec spec, const Sequences& sequences,
           const std::vector<expr::SlotValue>& values, std::vector<float> (&qkv)[3],
           std::vector<float>& out) {
  spec.num_heads_q = kHeadsQ;
  spec.num_heads_kv = kHeadsKv;
  spec.head_dim = kHeadDim;
  const std::vector<int32_t> last_page_len(sequences.indptr.size() - 1, 1);
  attnrt::SequenceBatch batch;
  batch.cu_seqlens_q = sequences.cu_seqlens_q;
  batch.block_table = attnrt::BlockTable::csr(sequences.indptr, sequences.slots, last_page_len,
                                              /*page_size=*/1);
  batch.mask_values = values;
  attnrt::Plan plan;
  if (Status s = make_plan(spec, batch, plan); !s.ok()) return s;

  std::vector<float> q;
  for (const int32_t row : sequences.rows) {
    const auto begin = qkv[0].begin() + row * static_cast<std::ptrdiff_t>(kRow);
    q.insert(q.end(), begin, begin + kRow);
  }
  out.resize(q.size());
  attnrt::AttendArgs args;
  args.q = dense_tensor(q.data(), DType::kF32, plan.total_q(), kHeadsQ, kHeadDim);
  args.kv = attnrt::KvView::paged(qkv[1].data(), qkv[2].data(), DType::kF32, attnrt::KvLayout::kNHD,
                                  kSlots, 1, kHeadsKv, kHeadDim);
  args.out = dense_tensor(out.data(), DType::kF32, plan.total_q(), kHeadsQ, kHeadDim);
  attnrt::Context context;
  return attend(context, plan, args);
}

}  // namespace

int main() {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  std::vector<float> qkv[3];
  qkv[0].resize(std::size(kPrefixes) * kNodes * kRow);
  for (const size_t i : {size_t{1}, size_t{2}}) qkv[i].resize(size_t{kSlots} * kHeadsKv * kHeadDim);
  for (auto& values : qkv) {
    for (float& value : values) value = normal(random);
  }

  // The tree is the end of each sequence: this mask does for the next steps, too.
  expr::ImportedMask tree;
  attnrt::AttentionSpec masked, causal;
  causal.causal = true;
  const Sequences trees = with_trees(), paths = with_paths();
  std::vector<float> of_trees, of_paths;
  Status status = expr::import_tree_parents(kParents, expr::kTreeAtEnd, tree);
  if (status.ok()) status = compile_mask(tree.mask, masked.mask);
  if (status.ok()) status = run(masked, trees, tree.values, qkv, of_trees);
  if (status.ok()) status = run(causal, paths, {}, qkv, of_paths);
  if (!status.ok()) {
    std::fprintf(stderr, "%s: %s\n", to_string(status.code()), status.message().c_str());
    return 1;
  }

  float worst = 0.0f;
  bool close = true;
  for (size_t i = 0; i < of_paths.size(); ++i) {
    const auto row = static_cast<size_t>(paths.rows[i / kRow]);
    const float difference = std::fabs(of_paths[i] - of_trees[row * kRow + i % kRow]);
    close = close && difference < 1e-5f;  // NaN is not close
    worst = std::max(worst, difference);
  }
  std::printf("trees of %d drafts and their %zu paths differ by at most %g\n", kNodes,
              paths.cu_seqlens_q.size() - 1, static_cast<double>(worst));
  return close ? 0 : 1;
}
