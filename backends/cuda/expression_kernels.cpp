// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/expression_kernels.hpp"

#include <map>
#include <mutex>
#include <utility>

#include "backends/cuda/cuda_status.hpp"
#include "backends/cuda/kernel_cache.hpp"
#include "backends/cuda/kernels/shapes.hpp"
#include "backends/cuda/nvrtc.hpp"

namespace attnrt::cuda {
namespace {

// How a kernel is launched.
struct Geometry {
  uint32_t threads;
  uint32_t shared_bytes;
  bool heads_together;
};

template <class Shape>
constexpr Geometry geometry() {
  return {Shape::kThreads, Shape::kSharedBytes, Shape::kHeadsTogether};
}

template <int kDim>
constexpr Geometry geometry(bool tall) {
  return tall ? geometry<TallShape<kDim>>() : geometry<ShortShape<kDim>>();
}

Geometry geometry_of(const KernelShape& shape) {
  switch (shape.padded_dim) {
    case 64:
      return geometry<64>(shape.tall);
    case 128:
      return geometry<128>(shape.tall);
    case 192:
      return geometry<192>(shape.tall);
    default:
      return geometry<256>(shape.tall);
  }
}

#if CUDART_VERSION >= 12080

// What was compiled of one source for one architecture: a library, for all devices of it.
struct Compiled {
  Status status;
  cudaKernel_t kernel = nullptr;
};

// From the disk, where it was kept there, or compiled.
Status code_of(const std::string& source, int architecture, std::string& code) {
  std::string reason;
  const Nvrtc* nvrtc = Nvrtc::find(reason);
  const KernelCache cache = KernelCache::from_environment();
  KernelInputs inputs;
  if (cache.enabled()) {
    inputs.text = Nvrtc::inputs(source, architecture);
    if (nvrtc != nullptr) inputs.compiler = nvrtc->version();
    if (cache.load(inputs, code)) return {};
  }
  if (nvrtc == nullptr) {
    return {Code::kUnsupported,
            "spec.mask is more than a window, or spec.score more than a softcap: the cuda "
            "backend compiles these by libnvrtc, which is not here (" +
                reason + ")"};
  }
  Status status = nvrtc->compile(source, architecture, code);
  if (status.ok()) cache.store(inputs, code);
  return status;
}

// Compiles and loads. The library's code is copied by the driver, which keeps it.
Compiled compile(const std::string& source, int architecture) {
  Compiled made;
  std::string code;
  made.status = code_of(source, architecture, code);
  if (!made.status.ok()) return made;
  cudaLibrary_t library = nullptr;
  cudaError_t error =
      cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0);
  if (error == cudaSuccess) error = cudaLibraryGetKernel(&made.kernel, library, kKernelName);
  if (error != cudaSuccess) made.status = failed("kernel of an expression", error);
  return made;
}

#endif

}  // namespace

#if CUDART_VERSION >= 12080

Status expression_kernel(const std::string& source, const KernelShape& shape, int device,
                         cudaKernel_t& kernel) {
  int major = 0;
  int minor = 0;
  cudaError_t error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  }
  if (error != cudaSuccess) return failed("device", error);
  const int architecture = 10 * major + minor;
  static std::mutex mutex;
  static std::map<std::pair<int, std::string>, Compiled> known;
  const std::lock_guard lock(mutex);
  auto at = known.find({architecture, source});
  if (at == known.end()) {
    // Only what was made: memory that was short may be there the next time.
    Compiled made = compile(source, architecture);
    if (!made.status.ok()) return made.status;
    at = known.emplace(std::pair{architecture, source}, std::move(made)).first;
  }
  kernel = at->second.kernel;
  error =
      cudaKernelSetAttributeForDevice(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(geometry_of(shape).shared_bytes), device);
  // Loads it, which must not be left to a launch: its stream may be captured.
  cudaFuncAttributes attributes{};
  if (error == cudaSuccess) {
    error = cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(kernel));
  }
  return error == cudaSuccess ? Status() : failed("shared memory of an expression", error);
}

#else

Status expression_kernel(const std::string&, const KernelShape&, int, cudaKernel_t&) {
  return {Code::kUnsupported,
          "spec.mask is more than a window, or spec.score more than a softcap: libattnrt_cuda was "
          "built with a CUDA before 12.8, which cannot load what it compiles for these"};
}

#endif

cudaError_t launch_expression(cudaKernel_t kernel, const KernelShape& shape, AttendParams params,
                              std::span<DeviceSlot> slots, const UnitRange& range,
                              cudaStream_t stream) noexcept {
  if (range.count == 0 || range.kv_heads == 0) return cudaSuccess;
  params.units = range.units;
  const Geometry geometry = geometry_of(shape);
  const dim3 blocks = geometry.heads_together ? dim3(range.count * range.kv_heads)
                                              : dim3(range.count, range.kv_heads);
  void* arguments[] = {&params, slots.data()};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), blocks, dim3(geometry.threads),
                          arguments, geometry.shared_bytes, stream);
}

}  // namespace attnrt::cuda
