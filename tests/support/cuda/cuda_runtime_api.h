// SPDX-License-Identifier: Apache-2.0
// The part of the CUDA runtime that the backend and its tests call, to be found in place of the
// toolkit's header: what the library does around its kernels then runs without a GPU, on the
// emulator. Names and meanings are NVIDIA's.
#pragma once

#include <cstddef>
#include <cstdint>

// NOLINTBEGIN(readability-identifier-naming): NVIDIA's names
#define CUDART_VERSION 12080

enum cudaError_t : int {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNoDevice = 100,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
};
enum cudaMemcpyKind : uint8_t { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2 };
enum cudaStreamCaptureStatus : uint8_t {
  cudaStreamCaptureStatusNone = 0,
  cudaStreamCaptureStatusActive = 1,
  cudaStreamCaptureStatusInvalidated = 2,
};
enum cudaStreamCaptureMode : uint8_t {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
};
enum cudaFuncAttribute : uint8_t { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr : uint8_t {
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
};
inline constexpr unsigned cudaHostAllocDefault = 0;
inline constexpr unsigned cudaEventDisableTiming = 2;

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr explicit(false) dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1)
      : x(x_), y(y_), z(z_) {}
};
struct cudaDeviceProp {
  char name[256];
  int major;
  int minor;
  int multiProcessorCount;
  size_t sharedMemPerBlockOptin;
};

struct cudaFuncAttributes {
  int numRegs;
};

using cudaStream_t = struct EmulatedStream*;
using cudaEvent_t = struct EmulatedEvent*;
using cudaGraph_t = struct EmulatedGraph*;
using cudaGraphExec_t = struct EmulatedGraph*;
using cudaLibrary_t = struct EmulatedLibrary*;
using cudaKernel_t = struct EmulatedKernel*;

#define ATTNRT_EMULATED __attribute__((visibility("default")))
extern "C" {
ATTNRT_EMULATED const char* cudaGetErrorString(cudaError_t error);
ATTNRT_EMULATED cudaError_t cudaGetLastError();

ATTNRT_EMULATED cudaError_t cudaGetDeviceCount(int* count);
ATTNRT_EMULATED cudaError_t cudaGetDevice(int* device);
ATTNRT_EMULATED cudaError_t cudaSetDevice(int device);
ATTNRT_EMULATED cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
ATTNRT_EMULATED cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr what, int device);
ATTNRT_EMULATED cudaError_t cudaDeviceSynchronize();

ATTNRT_EMULATED cudaError_t cudaMalloc(void** data, size_t bytes);
ATTNRT_EMULATED cudaError_t cudaFree(void* data);
ATTNRT_EMULATED cudaError_t cudaHostAlloc(void** data, size_t bytes, unsigned flags);
ATTNRT_EMULATED cudaError_t cudaFreeHost(void* data);
ATTNRT_EMULATED cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes,
                                       cudaMemcpyKind kind);
ATTNRT_EMULATED cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes,
                                            cudaMemcpyKind kind, cudaStream_t stream);

ATTNRT_EMULATED cudaError_t cudaStreamCreate(cudaStream_t* stream);
ATTNRT_EMULATED cudaError_t cudaStreamDestroy(cudaStream_t stream);
ATTNRT_EMULATED cudaError_t cudaStreamIsCapturing(cudaStream_t stream,
                                                  cudaStreamCaptureStatus* status);
ATTNRT_EMULATED cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
ATTNRT_EMULATED cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
ATTNRT_EMULATED cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph,
                                                 unsigned long long flags);
ATTNRT_EMULATED cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream);
ATTNRT_EMULATED cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph);
ATTNRT_EMULATED cudaError_t cudaGraphDestroy(cudaGraph_t graph);

ATTNRT_EMULATED cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
ATTNRT_EMULATED cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
ATTNRT_EMULATED cudaError_t cudaEventSynchronize(cudaEvent_t event);
ATTNRT_EMULATED cudaError_t cudaEventDestroy(cudaEvent_t event);

// Options are not emulated: the arrays are null.
ATTNRT_EMULATED cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code,
                                                void* jit_options, void** jit_values,
                                                unsigned num_jit, void* options, void** values,
                                                unsigned num_options);
ATTNRT_EMULATED cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t library,
                                                 const char* name);
ATTNRT_EMULATED cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t kernel,
                                                            cudaFuncAttribute what, int value,
                                                            int device);
ATTNRT_EMULATED cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes,
                                                  const void* kernel);
ATTNRT_EMULATED cudaError_t cudaLaunchKernel(const void* kernel, dim3 blocks, dim3 threads,
                                             void** arguments, size_t shared_bytes,
                                             cudaStream_t stream);
}
// NOLINTEND(readability-identifier-naming)
