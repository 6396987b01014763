// SPDX-License-Identifier: Apache-2.0
// Where threads run best when they must not share anything.
#include "perf/cpu_topology.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>

namespace attnrt::perf {
namespace {

// First of "0,64" or "0-1": the CPU that stands for a core; `cpu` itself where nothing is known.
int core_of(const std::string& cpu_root, int cpu) {
  std::ifstream in(fmt::format("{}/cpu{}/topology/thread_siblings_list", cpu_root, cpu));
  int first = cpu;
  return in >> first ? first : cpu;
}

}  // namespace

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

std::vector<int> spread_threads(std::span<const int> cpus, int32_t num_threads,
                                const std::string& cpu_root) {
  // Rounds of CPUs: the first one has one CPU of every core, the second one the next, and so on.
  std::vector<std::vector<int>> rounds;
  std::vector<int> cores_seen;
  for (const int cpu : cpus) {
    const int core = core_of(cpu_root, cpu);
    const auto round = static_cast<size_t>(std::count(cores_seen.begin(), cores_seen.end(), core));
    if (round == rounds.size()) rounds.emplace_back();
    rounds[round].push_back(cpu);
    cores_seen.push_back(core);
  }
  std::vector<int> places;
  const auto wanted = static_cast<size_t>(std::max(0, num_threads));
  for (size_t round = 0; places.size() < wanted && !rounds.empty(); ++round) {
    const std::vector<int>& from = rounds[round % rounds.size()];
    const size_t count = std::min(from.size(), wanted - places.size());
    for (size_t i = 0; i < count; ++i) places.push_back(from[i * from.size() / count]);
  }
  return places;
}

bool pin_to_cpu(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace attnrt::perf
