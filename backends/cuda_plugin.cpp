// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda_plugin.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <new>
#include <string>
#include <utility>

#include "backends/cuda/plugin.hpp"

namespace attnrt {
namespace {

constexpr char kFileName[] = "libattnrt_cuda.so";

// Stands for a backend that is not here. Nothing but its name and reason is ever asked for.
class AbsentBackend final : public Backend {
 public:
  explicit AbsentBackend(std::string reason) : reason_(std::move(reason)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return "cuda"; }
  [[nodiscard]] Device device() const noexcept override { return Device::kCuda; }
  [[nodiscard]] Capability capability() const override { return {"cuda", false, reason_}; }
  Status create_state(const ContextOptions&, std::unique_ptr<BackendState>&) const override {
    return absent();
  }
  [[nodiscard]] std::string_view isa(const BackendState&) const noexcept override { return {}; }
  [[nodiscard]] int32_t num_threads(const BackendState&) const noexcept override { return 0; }
  Status supports(const PlanData&, const AttendArgs&) const override { return absent(); }
  [[nodiscard]] size_t workspace_bytes(const BackendState&,
                                       const PlanData&) const noexcept override {
    return 0;
  }
  Status attend(BackendState&, const AttendCall&, std::span<std::byte>) const override {
    return absent();
  }
  Status append(BackendState&, const AppendTask&) const override { return absent(); }
  Status convert(BackendState&, const KvView&, const KvView&) const override { return absent(); }
  Status merge(BackendState&, const MergeTask&) const override { return absent(); }

 private:
  [[nodiscard]] Status absent() const { return {Code::kUnavailable, reason_}; }
  std::string reason_;
};

// The folder of the program or shared library that this function is linked into.
std::string own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&cuda_plugin), &info) == 0) return {};
  if (info.dli_fname == nullptr) return {};
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

// Null, with the linker's words in `reason`.
void* open_library(std::string& reason) {
  const auto open = [&](const std::string& path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* text = dlerror();
      reason = text != nullptr ? text : "dlopen failed";
    }
    return library;
  };
  if (const char* path = std::getenv("ATTNRT_CUDA_LIBRARY"); path != nullptr) {
    if (*path != '\0') return open(path);
    reason = "ATTNRT_CUDA_LIBRARY is empty";
    return nullptr;
  }
  const std::string folder = own_folder();
  if (!folder.empty()) {
    if (void* library = open(folder + kFileName); library != nullptr) return library;
  }
  return open(kFileName);
}

// Libraries are never closed: contexts may live until the process ends.
const Backend* find(std::string& reason) {
  void* library = open_library(reason);
  if (library == nullptr) return nullptr;
  void* symbol = dlsym(library, kCudaPluginFunction);
  if (symbol == nullptr) {
    reason = std::string("no ") + kCudaPluginFunction + " in the library that was found";
    return nullptr;
  }
  const BackendAbi abi;
  const Backend* backend = reinterpret_cast<CudaPluginFunction>(symbol)(&abi);
  if (backend == nullptr) reason = "the library that was found is of another build of attnrt";
  return backend;
}

const Backend* find_or_absent() {
  std::string reason;
  if (const Backend* backend = find(reason); backend != nullptr) return backend;
  return new AbsentBackend(std::move(reason));  // as long as the process
}

}  // namespace

const Backend& cuda_plugin() noexcept {
  static const Backend* const backend = find_or_absent();
  return *backend;
}

}  // namespace attnrt
