// SPDX-License-Identifier: Apache-2.0
// Kernels with expressions through the compiler that a GPU's first call would use. It needs no
// device; where it is not installed the tests say so.
#include "backends/cuda/nvrtc.hpp"

#include <doctest/doctest.h>

#include <string>

#include "backends/cuda/expr_source.hpp"
#include "backends/cuda/kernel_text.hpp"
#include "src/expr/lower_tile.hpp"
#include "tests/backends/cuda/generated/cases.hpp"
#include "tests/support/skip.hpp"

namespace attnrt::cuda {
namespace {

// Null where it is not here, having said so.
const Nvrtc* compiler() {
  std::string reason;
  const Nvrtc* found = Nvrtc::find(reason);
  if (found == nullptr) test::skip("no libnvrtc: " + reason);
  return found;
}

struct Programs {
  expr::MaskProgram mask;
  expr::ScoreProgram score;
  expr::TileProgram mask_code, score_code;

  void set_mask(const expr::Expr& expression) {
    REQUIRE(expr::compile_mask(expression, mask).message() == "");
    mask_code = expr::lower_mask(*mask.data());
  }
  void set_score(const expr::Expr& expression) {
    REQUIRE(expr::compile_score(expression, score).message() == "");
    score_code = expr::lower_score(*score.data());
  }
  [[nodiscard]] std::string source(const KernelShape& shape, bool wide) const {
    SourceProgram of_mask;
    SourceProgram of_score;
    if (mask.valid()) of_mask = {mask_code.code(), mask.slots(), wide};
    if (score.valid()) of_score = {score_code.code(), score.slots(), wide};
    return kernel_source(of_mask, of_score, shape);
  }
};

// ELF, with the kernel's name in it.
bool is_code(const std::string& code) {
  return code.substr(0, 4) ==
             "\x7f"
             "ELF" &&
         code.find(kKernelName) != std::string::npos;
}

}  // namespace

TEST_SUITE("libnvrtc") {
  TEST_CASE("every operation, as scores and under masks, for sm_80 and sm_90") {
    const Nvrtc* nvrtc = compiler();
    if (nvrtc == nullptr) return;
    // All operations as one score, so that one kernel has them all.
    expr::Expr sum = expr::score();
    for (const char* text : test::kOperationScores) {
      const expr::Expr one = test::parsed(text);
      if (std::string(text).find("dot(") == std::string::npos) sum = sum + one;
    }
    Programs all;
    all.set_score(sum);
    all.set_mask(test::generated_pairs().front().first);
    std::string code;
    CHECK(nvrtc->compile(all.source({DType::kBF16, 64, false}, true), 80, code).message() == "");
    CHECK(is_code(code));
    Programs dot;
    dot.set_score(test::parsed("f32 a[,]; bf16 c[,,]; score + dot(a, c)"));
    CHECK(nvrtc->compile(dot.source({DType::kF16, 64, false}, false), 90, code).message() == "");
    CHECK(is_code(code));
  }

  TEST_CASE("every shape, both dtypes") {
    const Nvrtc* nvrtc = compiler();
    if (nvrtc == nullptr) return;
    Programs programs;
    programs.set_mask(test::generated_pairs()[1].first);
    int number = 0;
    for (const int32_t dim : {64, 128, 192, 256}) {
      for (const bool tall : {false, true}) {
        const DType dtype = ++number % 2 == 0 ? DType::kF16 : DType::kBF16;
        std::string code;
        const std::string source = programs.source({dtype, dim, tall}, false);
        CHECK(nvrtc->compile(source, number % 3 == 0 ? 90 : 80, code).message() == "");
        CHECK(is_code(code));
      }
    }
  }

  TEST_CASE("it knows its version") {
    const Nvrtc* nvrtc = compiler();
    if (nvrtc == nullptr) return;
    CAPTURE(nvrtc->version());
    CHECK(std::stod(nvrtc->version()) >= 12);
  }

  TEST_CASE("what does not compile is reported by its first line") {
    const Nvrtc* nvrtc = compiler();
    if (nvrtc == nullptr) return;
    std::string code;
    const Status status = nvrtc->compile("int f() { return undeclared; }\n", 80, code);
    CHECK(status.code() == Code::kInternal);
    CAPTURE(status.message());
    CHECK(status.message().find("\"undeclared\" is undefined") != std::string::npos);
    CHECK(status.message().find('\n') == std::string::npos);
    CHECK(nvrtc->compile("", 12, code).message().find("sm_12") != std::string::npos);
  }
}

}  // namespace attnrt::cuda
