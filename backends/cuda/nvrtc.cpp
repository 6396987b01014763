// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/nvrtc.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <vector>

#include "backends/cuda/kernel_text.hpp"

namespace attnrt::cuda {
namespace {

// Where the library may be, newest first. It brings its own kernels' compiler, so that any version
// with sm_80 and C++20 will do.
constexpr const char* kPlaces[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so",
                                   "/usr/local/cuda/lib64/libnvrtc.so"};

constexpr const char* kSourceName = "attnrt_expression.cu";

// As the kernels of the build: see CMakeLists.txt.
constexpr const char* kOptions[] = {"--std=c++20", "--fmad=false",
                                    "--device-as-default-execution-space"};

std::string target_option(int architecture) {
  return "--gpu-architecture=sm_" + std::to_string(architecture);
}

void* open_library(std::string& reason) {
  const auto open = [&](const char* path) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr && reason.empty()) {
      const char* text = dlerror();
      reason = text != nullptr ? text : "dlopen failed";
    }
    return library;
  };
  if (const char* path = std::getenv("ATTNRT_NVRTC_LIBRARY"); path != nullptr) return open(path);
  for (const char* path : kPlaces) {
    if (void* library = open(path); library != nullptr) return library;
  }
  return nullptr;
}

// The line that says what is wrong, where there is one.
std::string first_line(const std::string& log) {
  const size_t error = log.find("error");
  size_t begin = error == std::string::npos ? 0 : log.rfind('\n', error);
  begin = begin == std::string::npos ? 0 : begin;
  while (begin < log.size() && log[begin] == '\n') ++begin;
  return log.substr(begin, log.find('\n', begin) - begin);
}

}  // namespace

bool Nvrtc::load(std::string& reason) {
  void* library = open_library(reason);  // never closed: contexts may live until the process ends
  if (library == nullptr) return false;
  bool all = true;
  const auto get = [&](const char* name, auto& function) {
    void* symbol = dlsym(library, name);
    if (symbol == nullptr && all) reason = std::string("libnvrtc has no ") + name;
    all = all && symbol != nullptr;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  get("nvrtcVersion", functions_.version);
  get("nvrtcCreateProgram", functions_.create);
  get("nvrtcDestroyProgram", functions_.destroy);
  get("nvrtcCompileProgram", functions_.compile);
  get("nvrtcGetProgramLogSize", functions_.log_size);
  get("nvrtcGetProgramLog", functions_.log);
  get("nvrtcGetCUBINSize", functions_.cubin_size);
  get("nvrtcGetCUBIN", functions_.cubin);
  get("nvrtcGetErrorString", functions_.error);
  return all;
}

const Nvrtc* Nvrtc::find(std::string& reason) {
  struct Found {
    Nvrtc nvrtc;
    std::string reason;
    bool there = nvrtc.load(reason);
  };
  static const Found found;
  reason = found.there ? std::string() : found.reason;
  return found.there ? &found.nvrtc : nullptr;
}

std::string Nvrtc::log_of(Program program) const {
  size_t bytes = 0;
  if (functions_.log_size(program, &bytes) != 0 || bytes <= 1) return {};
  std::string log(bytes, '\0');
  if (functions_.log(program, log.data()) != 0) return {};
  log.resize(bytes - 1);  // without the end of the C string
  return log;
}

std::string Nvrtc::version() const {
  int major = 0;
  int minor = 0;
  if (functions_.version(&major, &minor) != 0) return "unknown";
  return std::to_string(major) + "." + std::to_string(minor);
}

std::string Nvrtc::inputs(const std::string& source, int architecture) {
  std::string all;
  const auto add = [&all](std::string_view part) {
    all.append(std::to_string(part.size())).append("\n").append(part).append("\n");
  };
  add("attnrt " ATTNRT_VERSION);
  add(target_option(architecture));
  for (const char* option : kOptions) add(option);
  add(kSourceName);
  add(source);
  for (const KernelHeader& header : kernel_headers()) {
    add(header.name);
    add(header.text);
  }
  return all;
}

Status Nvrtc::compile(const std::string& source, int architecture, std::string& code) const {
  std::vector<const char*> names;
  std::vector<const char*> texts;
  for (const KernelHeader& header : kernel_headers()) {
    names.push_back(header.name);
    texts.push_back(header.text);
  }
  const std::string target = target_option(architecture);
  std::vector<const char*> options = {target.c_str()};
  options.insert(options.end(), std::begin(kOptions), std::end(kOptions));
  Program program = nullptr;
  Result result = functions_.create(&program, source.c_str(), kSourceName,
                                    static_cast<int>(names.size()), texts.data(), names.data());
  if (result != 0) {
    return {Code::kInternal, std::string("libnvrtc: ") + functions_.error(result)};
  }
  result = functions_.compile(program, static_cast<int>(options.size()), options.data());
  size_t bytes = 0;
  std::string log;
  if (result != 0) {
    log = log_of(program);
  } else {
    result = functions_.cubin_size(program, &bytes);
  }
  if (result == 0) {
    code.resize(bytes);
    result = functions_.cubin(program, code.data());
  }
  functions_.destroy(&program);
  if (result == 0) return {};
  const std::string line = first_line(log);
  return {Code::kInternal, "libnvrtc cannot compile an expression for sm_" +
                               std::to_string(architecture) + ": " +
                               (line.empty() ? functions_.error(result) : line)};
}

}  // namespace attnrt::cuda
