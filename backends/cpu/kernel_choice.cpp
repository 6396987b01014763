// SPDX-License-Identifier: Apache-2.0
// Which kernels compute a plan's items and why.
#include "backends/cpu/kernel_choice.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "backends/cpu/cpu_family.hpp"
#include "backends/cpu/dispatch.hpp"

namespace attnrt::cpu {
namespace {

// Items with as many query tokens: decode, speculative decoding, prefill.
struct ItemClass {
  const char* name;
  int32_t max_tokens;
};

constexpr std::array<ItemClass, 3> kClasses = {
    {{"decode", 1}, {"few tokens", 16}, {"prefill", std::numeric_limits<int32_t>::max()}}};

size_t class_of(int32_t tokens) {
  size_t index = 0;
  while (tokens > kClasses[index].max_tokens) ++index;
  return index;
}

// Counts and row ranges of the classes, no kernels yet.
std::array<KernelChoice, kClasses.size()> count_classes(const PlanData& plan) {
  std::array<KernelChoice, kClasses.size()> classes;
  const int32_t group = plan.spec.num_heads_q / plan.spec.num_heads_kv;
  for (const PlanItem& item : plan.items) {
    const PlanTile& tile = plan.tiles[static_cast<size_t>(item.tile)];
    const int32_t tokens = tile.token_end - tile.token_begin;
    KernelChoice& choice = classes[class_of(tokens)];
    const int32_t rows = tokens * group;
    choice.min_rows = choice.num_items == 0 ? rows : std::min(choice.min_rows, rows);
    choice.max_rows = std::max(choice.max_rows, rows);
    ++choice.num_items;
  }
  for (size_t i = 0; i < classes.size(); ++i) classes[i].items = kClasses[i].name;
  return classes;
}

}  // namespace

std::string choice_reason(const KernelTable& table, Arithmetic arithmetic, DType dtype) {
  if (dtype != DType::kBF16) return "products of f32: q and the cache are not bf16";
  if (arithmetic == Arithmetic::kFloat32) return "the spec asks for f32 products";
  const CpuFamily& family = find_family(cpu_identity());
  std::string known = *family.name == '\0' ? "" : std::string(family.name) + ": ";
  known += family.source;
  if (table.attend_bf16_dot == nullptr) return "no bf16 products in this table; " + known;
  return "q and the cache are bf16 (f32 where the call rotates q); " + known;
}

Status explain_plan(const PlanData& plan, std::string_view isa,
                    std::vector<KernelChoice>& choices) {
  const KernelTable* table = nullptr;
  if (Status status = resolve_table(isa, table); !status.ok()) return status;
  std::vector<KernelChoice> found;
  for (const KernelChoice& counted : count_classes(plan)) {
    if (counted.num_items == 0) continue;
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      const Arithmetic arithmetic = plan.spec.arithmetic;
      const bool dot = uses_bf16_dot(*table, arithmetic, dtype, dtype, /*rotates_q=*/false);
      KernelChoice choice = counted;
      choice.dtype = dtype;
      choice.isa = table->name;
      choice.products = dot ? table->bf16_dot_name : "f32 FMA";
      choice.tile_rows = std::min(table->tile_rows, counted.max_rows);
      choice.reason = choice_reason(*table, arithmetic, dtype);
      found.push_back(std::move(choice));
    }
  }
  choices = std::move(found);
  return {};
}

}  // namespace attnrt::cpu
