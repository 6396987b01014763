// SPDX-License-Identifier: Apache-2.0
// What this build has, what this machine can run, and why not where it cannot.
#include "attnrt/runtime.hpp"

#include <utility>

#include "src/backend.hpp"
#include "src/context.hpp"

namespace attnrt {
namespace {

// What `call` returns, or an empty value where there is no memory for it: nothing throws across the
// API.
template <class Call>
auto or_empty(Call&& call) noexcept -> decltype(call()) {
  try {
    return call();
  } catch (...) {
    return {};
  }
}

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

// "decode: 64 items of 4 rows, bf16: avx512, f32 FMA, 4 rows at once: why"
std::string line_of(const KernelChoice& choice) {
  std::string text = choice.items + ": " + std::to_string(choice.num_items) + " items of " +
                     std::to_string(choice.min_rows);
  if (choice.max_rows != choice.min_rows) text += " to " + std::to_string(choice.max_rows);
  return text + " rows, " + to_string(choice.dtype) + ": " + choice.isa + ", " + choice.products +
         ", " + std::to_string(choice.tile_rows) + " rows at once: " + choice.reason + "\n";
}

// Runtime::to_string.
std::string describe() {
  std::string text = "libattnrt " + std::string(Runtime::version()) + "\n";
  append_lines("backend ", Runtime::backends(), text);
  append_lines("isa ", Runtime::isas(), text);
  std::string name;
  std::string reason;
  const Status status = Runtime::default_isa(name, reason);
  text += status.ok() ? "default isa " + name + ": " + reason + "\n"
                      : "no default isa: " + status.message() + "\n";
  text += "chunk-invariant: always, on every isa\n";
  text += "threads " + std::to_string(Runtime::num_threads()) + "\n";
  return text;
}

}  // namespace

std::string_view Runtime::version() noexcept { return ATTNRT_VERSION; }

std::vector<Capability> Runtime::backends() noexcept {
  return or_empty([] {
    std::vector<Capability> list;
    for (const Backend* backend : all_backends()) list.push_back(backend->capability());
    return list;
  });
}

std::vector<Capability> Runtime::isas() noexcept {
  return or_empty([] {
    const Backend* backend = backend_with_isas();
    return backend == nullptr ? std::vector<Capability>() : backend->isas();
  });
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

Status Runtime::kernel_choices(const Plan& plan, std::vector<KernelChoice>& choices,
                               std::string_view isa) {
  return guarded([&]() -> Status {
    if (!plan.valid()) return Status(Code::kInvalidArgument, "plan has not been made");
    const Backend* backend = backend_with_isas();
    if (backend == nullptr) return Status(Code::kUnavailable, "no backend with a choice of ISA");
    return backend->explain(*plan.data(), isa, choices);
  });
}

std::string Runtime::explain(const Plan& plan, std::string_view isa) noexcept {
  return or_empty([&] {
    std::vector<KernelChoice> choices;
    const Status status = kernel_choices(plan, choices, isa);
    if (!status.ok()) return "no kernels: " + status.message() + "\n";
    std::string text;
    for (const KernelChoice& choice : choices) text += line_of(choice);
    return text +
           "packed16 pages are read in place, other caches are packed into the same lines first\n"
           "chosen by the kind of layer, the dtypes and the machine alone\n";
  });
}

std::string Runtime::to_string() noexcept { return or_empty(describe); }
}  // namespace attnrt
