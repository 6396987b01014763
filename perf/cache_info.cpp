// SPDX-License-Identifier: Apache-2.0
// How much cache and memory this machine has, from sysfs and the cgroup.
#include "perf/cache_info.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "perf/environment.hpp"

namespace attnrt::perf {
namespace {

namespace fs = std::filesystem;

std::string first_word(const fs::path& file) {
  std::ifstream in(file);
  std::string word;
  in >> word;
  return word;
}

// "32768K" as sysfs writes it; 0 where it is not a size.
int64_t parse_size(const std::string& text) {
  int64_t value = 0;
  size_t i = 0;
  for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
    value = value * 10 + (text[i] - '0');
  }
  if (i < text.size() && text[i] == 'K') value *= 1024;
  if (i < text.size() && text[i] == 'M') value *= 1024 * 1024;
  return value;
}

}  // namespace

int64_t last_level_cache_bytes(const std::string& cpu_root) {
  std::error_code error;
  int64_t best_level = 0;
  std::map<std::string, int64_t> caches;  // of the highest level, by the CPUs that share them
  for (const auto& cpu : fs::directory_iterator(cpu_root, error)) {
    const fs::path cache = cpu.path() / "cache";
    if (!fs::is_directory(cache, error)) continue;
    for (const auto& index : fs::directory_iterator(cache, error)) {
      const int64_t level = parse_size(first_word(index.path() / "level"));
      if (level < best_level || level == 0) continue;
      if (level > best_level) caches.clear();
      best_level = level;
      caches[first_word(index.path() / "shared_cpu_list")] =
          parse_size(first_word(index.path() / "size"));
    }
  }
  // Threads of one call may sit on several of them, so all of them hold KV.
  int64_t total = 0;
  for (const auto& [cpus, bytes] : caches) total += bytes;
  return total;
}

int64_t memory_room_bytes(const std::string& cgroup_root) {
  const int64_t available = available_memory_bytes();
  const std::string limit = first_word(fs::path(cgroup_root) / "memory.max");
  const std::string used = first_word(fs::path(cgroup_root) / "memory.current");
  if (available == 0 || limit.empty() || used.empty() || limit == "max") return available;
  return std::min(available, std::max<int64_t>(0, parse_size(limit) - parse_size(used)));
}

}  // namespace attnrt::perf
