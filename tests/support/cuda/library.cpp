// SPDX-License-Identifier: Apache-2.0
// NVRTC and the loading of what it compiled: here, machine code is the source itself, and running
// it finds what was compiled of the same source with the tests.
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/expr_source.hpp"
#include "tests/backends/cuda/generated/compiled.hpp"
#include "tests/support/cuda/device_state.hpp"

struct EmulatedKernel {
  attnrt::test::SimtKernel kernel;
  const attnrt::test::SimtExpression* expression;
  size_t num_slots;
  bool loaded;
};

struct EmulatedLibrary {
  std::string source;
  EmulatedKernel kernel;
};

namespace attnrt::test {
namespace {

constexpr size_t kMaxSlots = 16;

// The driver keeps libraries; so does this.
std::vector<std::unique_ptr<EmulatedLibrary>>& libraries() {
  static std::vector<std::unique_ptr<EmulatedLibrary>> all;
  return all;
}

struct Slots {
  cuda::DeviceSlot slots[kMaxSlots];
};

// What stands between two words, the second one looked for from the end.
std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const size_t begin = text.find(from);
  const size_t end = text.rfind(to);
  if (begin == std::string::npos || end == std::string::npos || end < begin) return {};
  return text.substr(begin, end - begin);
}

bool has(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

// False where the tests have no such kernel compiled.
bool find_kernel(const std::string& source, EmulatedKernel& found) {
  const std::string expression =
      between(source, "struct Expression", "}  // namespace attnrt::cuda");
  found.expression = find_compiled(expression);
  const int32_t dim = has(source, "Shape<64>") ? 64 : has(source, "Shape<192>") ? 192 : 0;
  if (found.expression == nullptr || dim == 0 || !has(source, "AttendBlock<BFloat16")) return false;
  found.kernel =
      simt_expression_kernel(found.expression->sees != nullptr, found.expression->score != nullptr,
                             dim, has(source, "TallShape<"));
  const std::string slots = between(source, "DeviceSlot slots[", "];\n");
  found.num_slots = std::stoul(slots.substr(std::strlen("DeviceSlot slots[")));
  return found.num_slots <= kMaxSlots;
}

}  // namespace
}  // namespace attnrt::test

using attnrt::test::DeviceState;
using attnrt::test::Operation;

cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code, void*, void**, unsigned,
                                void*, void**, unsigned) {
  DeviceState& device = DeviceState::get();
  return device.call([&] {
    if (device.spoils_capture()) return cudaErrorStreamCaptureUnsupported;
    attnrt::test::libraries().push_back(
        std::make_unique<EmulatedLibrary>(EmulatedLibrary{static_cast<const char*>(code), {}}));
    *library = attnrt::test::libraries().back().get();
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t library, const char* name) {
  return DeviceState::get().call([&] {
    if (!attnrt::test::has(library->source, name)) return cudaErrorInvalidValue;
    if (!attnrt::test::find_kernel(library->source, library->kernel)) return cudaErrorInvalidValue;
    *kernel = &library->kernel;
    return cudaSuccess;
  });
}

cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t, cudaFuncAttribute, int, int) {
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  *attributes = {};
  static_cast<EmulatedKernel*>(const_cast<void*>(kernel))->loaded = true;
  return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void* launched, dim3 blocks, dim3 threads, void** arguments,
                             size_t shared_bytes, cudaStream_t stream) {
  DeviceState& device = DeviceState::get();
  const EmulatedKernel kernel = *static_cast<const EmulatedKernel*>(launched);
  if (!kernel.loaded && device.spoils_capture()) {
    return device.note(cudaErrorStreamCaptureUnsupported);
  }
  if (threads.x != kernel.kernel.threads || shared_bytes != kernel.kernel.shared_bytes) {
    return device.note(cudaErrorInvalidValue);
  }
  attnrt::cuda::AttendParams params{};
  std::memcpy(&params, arguments[0], sizeof params);
  attnrt::test::Slots slots{};
  std::memcpy(slots.slots, arguments[1], kernel.num_slots * sizeof slots.slots[0]);
  attnrt::test::SimtLaunch grid;
  grid.blocks_x = blocks.x;
  grid.blocks_y = blocks.y;
  return device.call([&] {
    ++device.counts.launches;
    return attnrt::test::enqueue(stream, Operation([=] {
                                   attnrt::test::set_simt_expression(*kernel.expression,
                                                                     slots.slots);
                                   return attnrt::test::simt_launch_attend(
                                       kernel.kernel, params, DeviceState::get().memory(), grid);
                                 }));
  });
}

// NVRTC, by the names that backends/cuda/nvrtc.cpp looks up.
// NOLINTBEGIN(readability-identifier-naming): NVIDIA's names
extern "C" {

struct EmulatedProgram {
  std::string source;
};

ATTNRT_EMULATED int nvrtcVersion(int* major, int* minor) {
  *major = 0;  // no real one's: what a cache of kernels holds must not be taken for its work
  *minor = 1;
  return 0;
}
ATTNRT_EMULATED int nvrtcCreateProgram(EmulatedProgram** program, const char* source, const char*,
                                       int, const char* const*, const char* const*) {
  *program = new EmulatedProgram{source};
  return 0;
}
ATTNRT_EMULATED int nvrtcDestroyProgram(EmulatedProgram** program) {
  delete *program;
  return 0;
}
ATTNRT_EMULATED int nvrtcCompileProgram(EmulatedProgram*, int, const char* const*) {
  ++DeviceState::get().counts.compiles;
  return 0;
}
ATTNRT_EMULATED int nvrtcGetProgramLogSize(EmulatedProgram*, size_t* bytes) {
  *bytes = 1;
  return 0;
}
ATTNRT_EMULATED int nvrtcGetProgramLog(EmulatedProgram*, char* log) {
  *log = '\0';
  return 0;
}
ATTNRT_EMULATED int nvrtcGetCUBINSize(EmulatedProgram* program, size_t* bytes) {
  *bytes = program->source.size() + 1;
  return 0;
}
ATTNRT_EMULATED int nvrtcGetCUBIN(EmulatedProgram* program, char* code) {
  std::memcpy(code, program->source.c_str(), program->source.size() + 1);
  return 0;
}
ATTNRT_EMULATED const char* nvrtcGetErrorString(int) { return "no error"; }
}
// NOLINTEND(readability-identifier-naming)
