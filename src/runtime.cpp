// SPDX-License-Identifier: Apache-2.0
// What this build has, what this machine can run, and why not where it cannot.
#include "attnrt/runtime.hpp"

#include <utility>

#include "src/backend.hpp"
#include "src/context.hpp"

namespace attnrt {
namespace {

// The backend whose instruction sets are a choice: the CPU's.
const Backend* backend_with_isas() {
  for (const Backend* backend : all_backends()) {
    if (!backend->isas().empty()) return backend;
  }
  return nullptr;
}

void append_lines(const char* title, const std::vector<Capability>& list, std::string& text) {
  for (const Capability& item : list) {
    text += std::string(title) + item.name + (item.available ? ": yes, " : ": no, ") + item.reason +
            "\n";
  }
}

}  // namespace

std::string_view Runtime::version() noexcept { return ATTNRT_VERSION; }

std::vector<Capability> Runtime::backends() {
  std::vector<Capability> list;
  for (const Backend* backend : all_backends()) list.push_back(backend->capability());
  return list;
}

std::vector<Capability> Runtime::isas() {
  const Backend* backend = backend_with_isas();
  return backend == nullptr ? std::vector<Capability>() : backend->isas();
}

Status Runtime::default_isa(std::string& name, std::string& reason) {
  return guarded([&]() -> Status {
    const Backend* backend = backend_with_isas();
    if (backend == nullptr) return Status(Code::kUnavailable, "no backend with a choice of ISA");
    return backend->default_isa(name, reason);
  });
}

int32_t Runtime::num_threads() noexcept {
  for (const Backend* backend : all_backends()) return backend->default_threads();
  return 1;
}

std::string Runtime::to_string() {
  std::string text = "libattnrt " + std::string(version()) + "\n";
  append_lines("backend ", backends(), text);
  append_lines("isa ", isas(), text);
  std::string name;
  std::string reason;
  const Status status = default_isa(name, reason);
  text += status.ok() ? "default isa " + name + ": " + reason + "\n"
                      : "no default isa: " + status.message() + "\n";
  text += "threads " + std::to_string(num_threads()) + "\n";
  return text;
}

}  // namespace attnrt
