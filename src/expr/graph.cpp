// SPDX-License-Identifier: Apache-2.0
// Interning of nodes: equal sub-expressions are one object, found again through a table that does
// not keep them alive.
#include "src/expr/graph.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <mutex>
#include <unordered_set>
#include <utility>

namespace attnrt::expr {
namespace {

size_t mix(size_t seed, size_t value) {
  return seed ^ (value + 0x9e3779b97f4a7c15ULL + (seed << 6) + (seed >> 2));
}

struct HashNode {
  size_t operator()(const Node* node) const {
    size_t hash = mix(static_cast<size_t>(node->op), static_cast<size_t>(node->type));
    hash = mix(hash, static_cast<size_t>(node->literal.i));
    hash = mix(hash, std::bit_cast<uint32_t>(node->literal.f));
    hash = mix(hash, std::hash<std::string>()(node->slot.name));
    for (const NodePtr& input : node->inputs()) {
      hash = mix(hash, reinterpret_cast<uintptr_t>(input.get()));
    }
    return hash;
  }
};

// Literals are compared by their bits: 0.0 and -0.0 are two nodes, a NaN is one.
struct EqualNodes {
  bool operator()(const Node* x, const Node* y) const {
    return x->op == y->op && x->type == y->type && x->literal.i == y->literal.i &&
           std::bit_cast<uint32_t>(x->literal.f) == std::bit_cast<uint32_t>(y->literal.f) &&
           x->slot == y->slot && std::ranges::equal(x->inputs(), y->inputs());
  }
};

struct Table {
  std::mutex mutex;
  std::unordered_set<const Node*, HashNode, EqualNodes> nodes;
};

// Never destroyed: expressions with static storage may outlive any destructor here.
Table& table() {
  static Table& instance = *new Table;
  return instance;
}

// The node leaves the table before it dies. Another thread may have found it expired and put an
// equal node in its place, which must stay.
void release(const Node* node) {
  {
    const std::scoped_lock lock(table().mutex);
    const auto found = table().nodes.find(node);
    if (found != table().nodes.end() && *found == node) table().nodes.erase(found);
  }
  delete node;
}

uint8_t own_depends(const Node& node) {
  switch (node.op) {
    case Op::kQ:
      return kDependsQ;
    case Op::kKv:
      return kDependsKv;
    case Op::kB:
    case Op::kQLen:
    case Op::kKvLen:
      return kDependsB;
    case Op::kH:
    case Op::kHkv:
      return kDependsH;
    case Op::kScore:
      return kDependsScore;
    case Op::kRows:
      return static_cast<uint8_t>((node.slot.rank >= 3 ? kDependsH : 0) |
                                  (node.slot.rank >= 4 ? kDependsB : 0));
    case Op::kDot:
      return kDependsQ | kDependsKv;
    default:
      return 0;
  }
}

void derive(Node& node) {
  node.depends = own_depends(node);
  node.depth = 1;
  node.tree_size = 1;
  for (const NodePtr& input : node.inputs()) {
    node.depends |= input->depends;
    node.depth = std::max(node.depth, input->depth + 1);
    const uint64_t size = uint64_t{node.tree_size} + input->tree_size;
    node.tree_size = static_cast<uint32_t>(std::min<uint64_t>(size, UINT32_MAX));
  }
}

}  // namespace

NodePtr make_error(std::string message) {
  auto node = std::make_shared<Node>();
  node->slot.name = std::move(message);
  return node;
}

NodePtr intern(Node&& node) {
  for (const NodePtr& input : node.inputs()) {
    if (input->op == Op::kError) return input;
  }
  derive(node);
  if (node.depth > kMaxDepth) {
    return make_error("the expression is nested deeper than " + std::to_string(kMaxDepth) +
                      " operations");
  }
  const std::scoped_lock lock(table().mutex);
  const auto found = table().nodes.find(&node);
  if (found != table().nodes.end()) {
    if (NodePtr alive = (*found)->weak_from_this().lock()) return alive;
    table().nodes.erase(found);  // its last owner has just gone and waits for the lock
  }
  // The owner is made first: the table must never hold what an exception has freed.
  const Node* raw = new Node(std::move(node));
  NodePtr made;
  table().nodes.reserve(table().nodes.size() + 1);
  made = NodePtr(raw, release);
  table().nodes.insert(raw);
  return made;
}

NodePtr make_node(Op op, Type type, std::initializer_list<NodePtr> operands) {
  Node node;
  node.op = op;
  node.type = type;
  for (const NodePtr& operand : operands) node.operands[node.num_operands++] = operand;
  return intern(std::move(node));
}

size_t num_live_nodes() {
  const std::scoped_lock lock(table().mutex);
  return table().nodes.size();
}

}  // namespace attnrt::expr
