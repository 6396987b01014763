// SPDX-License-Identifier: Apache-2.0
// How fast this machine multiplies and adds with one instruction of one ISA.
#include "perf/multiply_probe.hpp"

#include <algorithm>
#include <functional>

namespace attnrt::perf {
namespace {

// Long against the clock and the spread of the threads' starts, short against a time slice.
constexpr double kRunSeconds = 300e-6;

}  // namespace

MultiplyProbe::MultiplyProbe(ProbeTeam& team, const MultiplyLoop& loop) : team_(team), loop_(loop) {
  const double rate = run() / team_.num_threads();
  const double iterations = rate * kRunSeconds / static_cast<double>(loop_.flops_per_iteration);
  iterations_ = std::max<int64_t>(1, static_cast<int64_t>(iterations));
}

double MultiplyProbe::run() {
  const std::function<void(int32_t)> work = [this](int32_t) { loop_.run(iterations_); };
  const TeamTime time = run_together([&] { return team_.run(work); });
  const int64_t flops = iterations_ * loop_.flops_per_iteration * team_.num_threads();
  return static_cast<double>(flops) / std::max(time.seconds, 1e-9);
}

}  // namespace attnrt::perf
