// SPDX-License-Identifier: Apache-2.0
// Reads the facts from the library, the compiler and /proc.
#include "perf/environment.hpp"

#include <fmt/format.h>

#include <fstream>
#include <string_view>
#include <thread>

#include "attnrt/runtime.hpp"

namespace attnrt::perf {
namespace {

/// What follows the colon of the first line of `file` that starts with `key`.
std::string value_of(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? std::string() : line.substr(begin);
  }
  return {};
}

/// Bytes of a line such as "VmHWM:  123 kB"; 0 without it.
int64_t kib_of(const char* file, std::string_view key) {
  const std::string kib = value_of(file, key);
  return kib.empty() ? 0 : std::stoll(kib) * 1024;
}

std::string compiler() {
#if defined(__clang__)
  return fmt::format("Clang {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
  return fmt::format("GCC {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
  return "unknown";
#endif
}

std::string build_kind() {
#if defined(__OPTIMIZE__)
  return "optimised";
#else
  return "not optimised: figures mean little";
#endif
}

/// Why the ISA of this context: the library's reason where it chose, else that it was asked for.
std::string isa_reason(std::string_view isa) {
  if (isa == "none") return "the backend has no choice";
  std::string name, reason;
  if (Runtime::default_isa(name, reason).ok() && name == isa) return reason;
  return "asked for by --isa";
}

}  // namespace

std::string cpu_name() {
  const std::string name = value_of("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown" : name;
}

std::string huge_page_setting() {
  std::ifstream in("/sys/kernel/mm/transparent_hugepage/enabled");
  std::string line;
  std::getline(in, line);
  const size_t begin = line.find('[');
  const size_t end = line.find(']');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return "unknown";
  return line.substr(begin + 1, end - begin - 1);
}

int64_t peak_memory_bytes() { return kib_of("/proc/self/status", "VmHWM"); }

int64_t available_memory_bytes() { return kib_of("/proc/meminfo", "MemAvailable"); }

std::vector<Fact> read_environment(const Context& context) {
  const std::string isa(context.isa());
  const std::string reason = isa.empty() ? std::string() : isa_reason(isa);
  return {
      {"version", "attnrt-perf", std::string(Runtime::version())},
      {"compiler", "compiler", compiler()},
      {"build", "build", build_kind()},
      {"cpu", "CPU", cpu_name()},
      {"logical_cpus", "logical CPUs", int64_t{std::thread::hardware_concurrency()}},
      {"backend", "backend", std::string(context.backend())},
      {"isa", "ISA", isa},
      {"isa_reason", "ISA because", reason},
      {"threads", "threads", int64_t{context.num_threads()}},
      {"huge_pages", "huge pages", huge_page_setting()},
  };
}

}  // namespace attnrt::perf
