// SPDX-License-Identifier: Apache-2.0
// How much cache and memory this machine has, from sysfs, procfs and the cgroup.
#include "perf/cache_info.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

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

// Bytes that this cgroup (version 2) may still take; -1 where it has no limit.
int64_t cgroup_room_bytes() {
  const std::string limit = first_word("/sys/fs/cgroup/memory.max");
  const std::string used = first_word("/sys/fs/cgroup/memory.current");
  if (limit.empty() || used.empty() || limit == "max") return -1;
  return std::max<int64_t>(0, parse_size(limit) - parse_size(used));
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

int64_t available_memory_bytes(const std::string& meminfo) {
  std::ifstream in(meminfo);
  std::string key;
  int64_t available = 0;
  int64_t kib = 0;
  for (std::string unit; in >> key >> kib; std::getline(in, unit)) {
    if (key == "MemAvailable:") available = kib * 1024;
  }
  const int64_t room = cgroup_room_bytes();
  return room < 0 || available == 0 ? available : std::min(available, room);
}

}  // namespace attnrt::perf
