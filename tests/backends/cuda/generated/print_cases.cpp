// SPDX-License-Identifier: Apache-2.0
// Prints the cases of cases.hpp as C++: their structs as the CUDA backend would have them compiled,
// in both widths, and a list of them. usage: print_cases FILE
#include <fstream>
#include <iostream>
#include <set>
#include <string>

#include "backends/cuda/expr_source.hpp"
#include "src/expr/lower_tile.hpp"
#include "tests/backends/cuda/generated/cases.hpp"

namespace attnrt::test {
namespace {

using cuda::SourceProgram;

// Programs of one case; what does not compile stays away.
class Programs {
 public:
  bool set_mask(const expr::Expr& expression) {
    if (!expr::compile_mask(expression, mask_).ok()) return false;
    mask_code_ = expr::lower_mask(*mask_.data());
    return true;
  }
  bool set_score(const expr::Expr& expression) {
    if (!expr::compile_score(expression, score_).ok()) return false;
    score_code_ = expr::lower_score(*score_.data());
    return true;
  }
  [[nodiscard]] std::string source(bool wide, const std::string& name) const {
    SourceProgram mask;
    SourceProgram score;
    if (mask_.valid()) mask = {mask_code_.code(), mask_.slots(), wide};
    if (score_.valid()) score = {score_code_.code(), score_.slots(), wide};
    return cuda::expression_source(mask, score, name);
  }
  [[nodiscard]] bool has_mask() const { return mask_.valid(); }
  [[nodiscard]] bool has_score() const { return score_.valid(); }

 private:
  expr::MaskProgram mask_;
  expr::ScoreProgram score_;
  expr::TileProgram mask_code_, score_code_;
};

class Writer {
 public:
  explicit Writer(std::ostream& out) : out_(out) {
    out_ << "// SPDX-License-Identifier: Apache-2.0\n"
            "// Printed by print_cases.\n"
            "#include <cstring>\n\n"
            "#include \"backends/cuda/kernels/expression_ops.cuh\"\n"
            "#include \"tests/backends/cuda/generated/compiled.hpp\"\n\n"
            "namespace attnrt::cuda {\nnamespace {\n\n";
  }

  void add(const Programs& programs) {
    for (const bool wide : {false, true}) {
      const std::string source = programs.source(wide, "Expression");
      if (!known_.insert(source).second) continue;
      const std::string name = "Expression" + std::to_string(known_.size());
      out_ << programs.source(wide, name) << "\n";
      list_ += "    {R\"__(" + source + ")__\", {";
      list_ += programs.has_mask() ? "sees_of<cuda::" + name + ">, " : "nullptr, ";
      list_ += programs.has_score() ? "score_of<cuda::" + name + ">}},\n" : "nullptr}},\n";
    }
  }

  void finish() {
    out_ << R"__(}  // namespace
}  // namespace attnrt::cuda

namespace attnrt::test {
namespace {

template <class Expression>
Expression with(const cuda::DeviceSlot* slots) {
  Expression made;
  std::memcpy(made.slots, slots, sizeof made.slots);
  return made;
}
template <class Expression>
bool sees_of(const cuda::DeviceSlot* slots, const cuda::ExprPoint& at) {
  return with<Expression>(slots).sees(at);
}
template <class Expression>
float score_of(const cuda::DeviceSlot* slots, const cuda::ExprPoint& at, float score) {
  return with<Expression>(slots).score(at, score);
}

const CompiledExpression kCompiled[] = {
)__" << list_
         << R"__(};

}  // namespace

std::span<const CompiledExpression> compiled_expressions() { return kCompiled; }

}  // namespace attnrt::test
)__";
  }

 private:
  std::ostream& out_;
  std::set<std::string> known_;
  std::string list_;
};

bool print(std::ostream& out) {
  Writer writer(out);
  bool all = true;
  const auto masks = [&](const std::vector<expr::Expr>& list, bool must) {
    for (const expr::Expr& mask : list) {
      Programs programs;
      const bool compiled = programs.set_mask(mask);
      if (compiled) writer.add(programs);
      all = all && (compiled || !must);
    }
  };
  const auto scores = [&](const std::vector<expr::Expr>& list, bool must) {
    for (const expr::Expr& score : list) {
      Programs programs;
      const bool compiled = programs.set_score(score);
      if (compiled) writer.add(programs);
      all = all && (compiled || !must);
    }
  };
  masks(generated_masks(), /*must=*/true);
  scores(generated_scores(), /*must=*/true);
  masks(random_masks(), /*must=*/false);
  scores(random_scores(), /*must=*/false);
  for (const auto& [mask, score] : generated_pairs()) {
    Programs programs;
    all = programs.set_mask(mask) && programs.set_score(score) && all;
    writer.add(programs);
  }
  writer.finish();
  return all;
}

}  // namespace
}  // namespace attnrt::test

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "print_cases: usage: print_cases FILE\n";
    return 2;
  }
  std::ofstream out(argv[1]);
  if (!attnrt::test::print(out)) {
    std::cerr << "print_cases: a case does not compile\n";
    return 1;
  }
  return out.good() ? 0 : 1;
}
