// SPDX-License-Identifier: Apache-2.0
// Comparing outputs: with the reference under the error rule, and with each other bit for bit.
// Every function returns an empty string when all is well, else what is wrong and where, so that a
// test is CHECK(f(..) == "").
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/reference/error_rule.hpp"
#include "backends/reference/reference.hpp"
#include "tests/support/problem.hpp"

namespace attnrt::test {

/// What the reference says about a problem, and how far from it a result may be.
struct Expected {
  std::vector<reference::Row> rows;  // [total_q, Hq]
  double bound = 0.0;                // where softmax weights stay f32
  double bound_of_bf16_weights = 0.0;
};

Expected expect(const Problem& problem);

/// What a call of this problem on this context multiplies V with: the library's own rule.
reference::Weights weights_of(const Context& context, const Problem& problem);

/// `out` within the bound, NaN and infinities exactly where the reference has them, nothing written
/// between rows.
std::string check_out(const Problem& problem, const Expected& expected, const Output& output,
                      reference::Weights weights = reference::Weights::kFloat32);

/// The same, and the LSE.
std::string check_close(const Problem& problem, const Expected& expected, const Output& output,
                        reference::Weights weights = reference::Weights::kFloat32);

/// Plans, attends and returns the status' message, or "ok".
std::string run(Context& context, const Problem& problem, Output& output);

/// run, then check_close.
std::string check_against_reference(Context& context, const Problem& problem);

/// The same with the CPU backend and the kernels of every ISA; fails the running test itself.
void check_on_every_isa(const Problem& problem);

/// `count` rows of the two outputs, from the given tokens on, have the same bits.
struct RowRange {
  const Output& output;
  int64_t first_token = 0;
};
std::string check_same_bits(const RowRange& a, const RowRange& b, int64_t count);
std::string check_same_bits(const Output& a, const Output& b);

/// A context on the CPU backend with this ISA, or on the machine's best with "".
Context cpu_context(std::string_view isa = {}, int32_t num_threads = 0);

/// The ISAs whose kernels run here; says which of the build's are skipped, and why.
std::vector<std::string> usable_isas();

}  // namespace attnrt::test
