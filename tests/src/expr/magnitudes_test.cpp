// SPDX-License-Identifier: Apache-2.0
#include "src/expr/magnitudes.hpp"

#include <doctest/doctest.h>

namespace attnrt::testing {

TEST_CASE("magnitudes bound what can be bound, and say where numbers wrap") {
  const auto of = [](const char* left) {
    expr::Expr mask;
    REQUIRE(expr::parse(std::string(left) + " < 0", mask).ok());
    expr::MaskProgram program;
    REQUIRE(compile_mask(mask, program).ok());
    const expr::ProgramData& data = *program.data();
    const int32_t operand = data.nodes.back().operands[0];
    return expr::magnitudes(data)[static_cast<size_t>(operand)];
  };
  CHECK(of("q") == 2147483647.0);
  CHECK(of("q - kv") == 2147483647.0);
  CHECK(of("q + kv") == 2 * 2147483647.0);
  CHECK(of("t[q]") == 2147483648.0);
  CHECK(of("p") == 1099511627776.0);
  CHECK(of("p * p") == 0x1p63);
  CHECK(of("p * p // 2") == 0x1p63);
  CHECK(of("p * p % 7") == 6.0);
  CHECK(of("select(q < 3, 9, kv % 5)") == 9.0);
}

}  // namespace attnrt::testing
