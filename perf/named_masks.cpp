// SPDX-License-Identifier: Apache-2.0
#include "perf/named_masks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>

#include "perf/cli.hpp"
#include "perf/random.hpp"

namespace attnrt::perf {
namespace {

using expr::ElementType;
using Ints = std::vector<int32_t>;

constexpr uint64_t kSeed = 1;

// FlashMask's samples of 32K tokens have 10 to 14 documents.
constexpr int32_t kFlashDocuments = 12;

void add_ints(NamedExpr& to, std::string slot, Ints values) {
  const auto size = static_cast<int64_t>(values.size());
  to.tables.push_back({std::move(slot), ElementType::kI32, {size}, std::move(values), {}, {}});
}

// Where each of `count` documents begins, and the end of the last one. Lengths are between a third
// and three times each other, as FlashMask's are: 0.92 of all tiles are empty with 12.
Ints document_starts(int32_t tokens, int32_t count) {
  Random random(kSeed);
  std::vector<double> ends;
  double total = 0.0;
  for (int32_t d = 0; d < count; ++d) ends.push_back(total += 0.5 + random.uniform());
  Ints starts{0};
  for (const double end : ends) {
    starts.push_back(static_cast<int32_t>(std::lround(end / total * tokens)));
  }
  return starts;
}

// For each token, what `value` makes of its document's number, begin and end, and of itself.
template <class Value>
Ints per_token(const Ints& starts, const Value& value) {
  Ints out;
  for (size_t d = 0; d + 1 < starts.size(); ++d) {
    for (int32_t token = starts[d]; token < starts[d + 1]; ++token) {
      out.push_back(value(static_cast<int32_t>(d), starts[d], starts[d + 1], token));
    }
  }
  return out;
}

Ints document_of(const Ints& starts) {
  return per_token(starts, [](int32_t d, int32_t, int32_t, int32_t) { return d; });
}

void add_documents(NamedExpr& to, int32_t tokens, int32_t count) {
  add_ints(to, "doc", document_of(document_starts(tokens, count)));
}

void documents(NamedExpr& to, const NamedShape& shape) {
  add_documents(to, shape.tokens, std::max(2, shape.tokens / 16384));
}

void flash_documents(NamedExpr& to, const NamedShape& shape) {
  add_documents(to, shape.tokens, kFlashDocuments);
}

// Each document is a question, half of it, and three answers that do not see each other.
void shared_question(NamedExpr& to, const NamedShape& shape) {
  const Ints starts = document_starts(shape.tokens, kFlashDocuments);
  const auto answers_begin = [](int32_t begin, int32_t end) { return begin + (end - begin) / 2; };
  add_ints(to, "doc", document_of(starts));
  add_ints(to, "question_end", per_token(starts, [&](int32_t, int32_t begin, int32_t end, int32_t) {
             return answers_begin(begin, end);
           }));
  add_ints(to, "segment", per_token(starts, [&](int32_t d, int32_t begin, int32_t end, int32_t i) {
             const int32_t first = answers_begin(begin, end);
             const int32_t length = std::max(1, (end - first + 2) / 3);
             return 4 * d + (i < first ? 0 : 1 + (i - first) / length);
           }));
}

void last_document(NamedExpr& to, const NamedShape& shape) {
  flash_documents(to, shape);
  to.ints = {{"last", to.tables.back().ints.back()}};
}

void document_prefixes(NamedExpr& to, const NamedShape& shape) {
  flash_documents(to, shape);
  add_ints(to, "prefix_end",
           per_token(document_starts(shape.tokens, kFlashDocuments),
                     [](int32_t, int32_t begin, int32_t end, int32_t) {
                       return begin + (end - begin) * 2 / 5;
                     }));
}

// One run of queries and one of keys that nothing passes: FlashMask's has 0.52 of all tiles empty.
void dropped_ranges(NamedExpr& to, const NamedShape& shape) {
  const auto add = [&](const char* slot, int32_t begin) {
    std::vector<int8_t> drop(static_cast<size_t>(shape.tokens));
    const auto first = drop.begin() + begin;
    std::fill(first, first + shape.tokens / 32, int8_t{1});
    to.tables.push_back({slot, ElementType::kBool, {shape.tokens}, {}, std::move(drop), {}});
  };
  add("drop_query", shape.tokens / 2);
  add("drop_key", shape.tokens / 8);
}

void evictions(NamedExpr& to, const NamedShape& shape) {
  Random random(kSeed);
  Ints evicted;
  for (int32_t key = 0; key < shape.tokens; ++key) {
    const auto later = static_cast<uint64_t>(shape.tokens - key);
    evicted.push_back(key + 1 + static_cast<int32_t>(random.below(later)));
  }
  add_ints(to, "evicted", std::move(evicted));
}

// Hits of particle tracks, sorted by track: 5 to 50 each.
void clusters(NamedExpr& to, const NamedShape& shape) {
  Random random(kSeed);
  Ints cluster;
  for (int32_t id = 0; std::ssize(cluster) < shape.tokens; ++id) {
    const auto hits = static_cast<int32_t>(5 + random.below(46));
    const auto room = shape.tokens - static_cast<int32_t>(cluster.size());
    cluster.insert(cluster.end(), static_cast<size_t>(std::min(hits, room)), id);
  }
  add_ints(to, "cluster", std::move(cluster));
}

void slopes(NamedExpr& to, const NamedShape& shape) {
  std::vector<float> slope;
  for (int32_t h = 0; h < shape.heads; ++h) {
    slope.push_back(std::exp2(-8.0f * static_cast<float>(h + 1) / static_cast<float>(shape.heads)));
  }
  to.tables.push_back({"slope", ElementType::kF32, {shape.heads}, {}, {}, std::move(slope)});
}

// Of all distances q - kv, from 1 - tokens on.
void distance_biases(NamedExpr& to, const NamedShape& shape) {
  Random random(kSeed);
  const int64_t distances = 2 * int64_t{shape.tokens} - 1;
  std::vector<float> bias(static_cast<size_t>(shape.heads * distances));
  for (float& x : bias) x = static_cast<float>(random.uniform());
  to.tables.push_back(
      {"bias", ElementType::kF32, {shape.heads, distances}, {}, {}, std::move(bias)});
  to.ints = {{"middle", shape.tokens - 1}};
}

void cap_and_inverse(NamedExpr& to, const NamedShape&) {
  to.floats = {{"cap", 50.0f}, {"inverse", 0.02f}};
}

using Fill = void (*)(NamedExpr&, const NamedShape&);

struct Entry {
  const char* name;
  const char* text;  // {16} is a sixteenth of the tokens, {2} half of them
  Fill fill;
};

constexpr const char* kSameDocument = "doc[q] == doc[kv]";

const std::vector<Entry>& masks() {
  static const std::vector<Entry> entries{
      {"none", "true", nullptr},
      {"causal", "kv <= q", nullptr},
      {"window", "kv <= q && q - kv < 4096", nullptr},
      {"documents", "kv <= q && doc[q] == doc[kv]", documents},
      {"tracks", "cluster[q] == cluster[kv]", clusters},
      {"fm-full", "true", nullptr},
      {"fm-causal", "kv <= q", nullptr},
      {"fm-sliding-window", "kv <= q && q - kv < {16}", nullptr},
      {"fm-causal-document", "kv <= q && doc[q] == doc[kv]", flash_documents},
      {"fm-document", kSameDocument, flash_documents},
      {"fm-shared-question",
       "doc[q] == doc[kv] && kv <= q && (kv < question_end[q] || segment[q] == segment[kv])",
       shared_question},
      {"fm-global-sliding-window", "abs(q - kv) < {16} || q < 64 || kv < 64", nullptr},
      {"fm-causal-blockwise", "kv <= q && (doc[q] == doc[kv] || doc[q] == last)", last_document},
      {"fm-prefix-lm-causal", "kv < {2} || kv <= q", nullptr},
      {"fm-prefix-lm-document", "doc[q] == doc[kv] && (kv < prefix_end[q] || kv <= q)",
       document_prefixes},
      {"fm-qk-sparse",
       "bool drop_query[]; bool drop_key[]; kv <= q && !drop_query[q] && !drop_key[kv]",
       dropped_ranges},
      {"fm-random-eviction", "kv <= q && q < evicted[kv]", evictions},
  };
  return entries;
}

// Those called -program are the same numbers in a form that is not one of the built-in options.
const std::vector<Entry>& scores() {
  static const std::vector<Entry> entries{
      {"alibi", "f32 slope[]; score - slope[h] * abs(q - kv)", slopes},
      {"alibi-program", "f32 slope[]; score - abs(slope[h] * (q - kv))", slopes},
      {"bias-table", "f32 bias[,]; score + bias[h, q - kv + middle]", distance_biases},
      {"softcap", "float cap; cap * tanh(score / cap)", cap_and_inverse},
      {"softcap-program", "float cap; float inverse; cap * tanh(score * inverse)", cap_and_inverse},
  };
  return entries;
}

std::vector<std::string> names_of(const std::vector<Entry>& entries) {
  std::vector<std::string> names;
  for (const Entry& entry : entries) names.emplace_back(entry.name);
  return names;
}

std::string with_lengths(std::string text, int32_t tokens) {
  for (const int32_t part : {2, 16}) {
    const std::string word = fmt::format("{{{}}}", part);
    const size_t at = text.find(word);
    if (at != std::string::npos) text.replace(at, word.size(), std::to_string(tokens / part));
  }
  return text;
}

// Checked here, so that what `--mask` says is refused before anything is measured.
using Check = std::function<Status(const expr::Expr&, std::span<const expr::Slot>&)>;

struct Catalogue {
  const char* option;
  const std::vector<Entry>& entries;
  Check compile;
};

NamedExpr find(const Catalogue& catalogue, std::string_view name, const NamedShape& shape) {
  NamedExpr made;
  made.name = made.text = std::string(name);
  for (const Entry& entry : catalogue.entries) {
    if (entry.name != name) continue;
    made.text = with_lengths(entry.text, shape.tokens);
    if (entry.fill != nullptr) entry.fill(made, shape);
    return made;
  }
  const auto refuse = [&](std::string_view why) {
    return BadInput(fmt::format("{} is '{}': {}; by name: {}", catalogue.option, name, why,
                                fmt::join(names_of(catalogue.entries), ", ")));
  };
  expr::Expr expression;
  Status status = expr::parse(name, expression);
  std::span<const expr::Slot> slots;
  if (status.ok()) status = catalogue.compile(expression, slots);
  if (!status.ok()) throw refuse(status.message());
  if (!slots.empty()) throw refuse(fmt::format("'{}' has no value", slots.front().name));
  return made;
}

}  // namespace

std::vector<expr::SlotValue> NamedExpr::values() const {
  std::vector<expr::SlotValue> values;
  for (const NamedTable& table : tables) {
    expr::SlotValue value{
        .name = table.slot, .kind = expr::SlotKind::kBuffer, .element = table.element};
    value.data = table.element == ElementType::kI32 ? static_cast<const void*>(table.ints.data())
                 : table.element == ElementType::kF32
                     ? static_cast<const void*>(table.floats.data())
                     : table.bools.data();
    value.rank = static_cast<int32_t>(table.shape.size());
    int64_t stride = 1;
    for (size_t d = table.shape.size(); d-- > 0;) {
      value.shape[d] = table.shape[d];
      value.strides[d] = stride;
      stride *= table.shape[d];
    }
    values.push_back(value);
  }
  for (const auto& [slot, value] : ints) values.push_back(expr::int_value(slot, value));
  for (const auto& [slot, value] : floats) values.push_back(expr::float_value(slot, value));
  return values;
}

NamedExpr named_mask(std::string_view name, const NamedShape& shape) {
  expr::MaskProgram program;
  const auto compile = [&](const expr::Expr& expression, std::span<const expr::Slot>& slots) {
    Status status = expr::compile_mask(expression, program);
    slots = program.slots();
    return status;
  };
  return find({"--mask", masks(), compile}, name, shape);
}

NamedExpr named_score(std::string_view name, const NamedShape& shape) {
  expr::ScoreProgram program;
  const auto compile = [&](const expr::Expr& expression, std::span<const expr::Slot>& slots) {
    Status status = expr::compile_score(expression, program);
    slots = program.slots();
    return status;
  };
  return find({"--score", scores(), compile}, name, shape);
}

std::vector<std::string> mask_names() { return names_of(masks()); }

std::vector<std::string> score_names() { return names_of(scores()); }

std::vector<std::string> flash_mask_names() {
  std::vector<std::string> names = mask_names();
  std::erase_if(names, [](const std::string& name) { return !name.starts_with("fm-"); });
  return names;
}

std::vector<std::string> split_expressions(std::string_view option, std::string_view text) {
  std::vector<std::string> items;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size()) {
      depth += text[i] == '(' || text[i] == '[' ? 1 : 0;
      depth -= text[i] == ')' || text[i] == ']' ? 1 : 0;
      if (text[i] != ',' || depth > 0) continue;
    }
    const std::string_view item = text.substr(begin, i - begin);
    if (item.find_first_not_of(' ') == std::string_view::npos) {
      throw BadInput(fmt::format("{} is '{}': an item is empty", option, text));
    }
    if (item == "flashmask") {
      for (std::string& name : flash_mask_names()) items.push_back(std::move(name));
    } else {
      items.emplace_back(item);
    }
    begin = i + 1;
  }
  return items;
}

}  // namespace attnrt::perf
