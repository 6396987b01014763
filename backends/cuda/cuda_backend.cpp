// SPDX-License-Identifier: Apache-2.0
// The CUDA backend: uploads a plan once, launches kernels on the caller's stream. No call syncs
// (but see Staging) or, once its memory is large enough, allocates. Kernels with expressions are
// compiled by the first call that needs them, or by Context::reserve.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/call_expression.hpp"
#include "backends/cuda/call_params.hpp"
#include "backends/cuda/cuda_status.hpp"
#include "backends/cuda/device_memory.hpp"
#include "backends/cuda/expression_kernels.hpp"
#include "backends/cuda/launch.hpp"
#include "backends/cuda/plugin.hpp"
#include "backends/cuda/supports.hpp"

namespace attnrt::cuda {
namespace {

// Kernels of a plan with expressions, and which calls they serve: scores are compiled in the width
// that the values of their slots ask for, or are none with some values.
struct PlanKernels {
  DType dtype = DType::kBF16;
  bool has_score = false;
  bool wide_score = false;
  cudaKernel_t tall = nullptr;  // null: the plan has no such units
  cudaKernel_t low = nullptr;
};

// A plan that is on the device.
struct UploadedPlan {
  uint64_t serial = 0;  // 0: none
  DeviceMemory memory;
  DevicePlanLayout layout;
  std::vector<PlanKernels> kernels;
};

struct CudaState final : BackendState {
  int device = 0;
  cudaStream_t stream = nullptr;
  DeviceMemory workspace;
  Staging staging;
  std::array<UploadedPlan, 4> plans;            // layers of several kinds take turns with theirs
  size_t next_plan = 0;                         // the oldest
  std::vector<DeviceSlot> slots;                // of the last expression
  DeviceMemory places_memory;                   // of the last append
  std::vector<DevicePlace> places, new_places;  // what is there, and what is asked for
};

CudaState& of(BackendState& state) { return static_cast<CudaState&>(state); }

// Makes the state's device the thread's current one, and gives the old one back.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    if (cudaGetDevice(&before_) == cudaSuccess && before_ != device) {
      cudaSetDevice(device);
      changed_ = true;
    }
  }
  ~OnDevice() {
    if (changed_) cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

// An upload would be replayed with whatever the staging memory holds by then.
Status check_not_capturing(const CudaState& state, const char* what) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(state.stream, &capture);
  if (error != cudaSuccess) return failed("stream", error);
  if (capture == cudaStreamCaptureStatusNone) return {};
  return Status(Code::kUnsupported,
                std::string("the stream is being captured and ") + what +
                    " not on the device yet: reserve it, or make the same call, before");
}

Status upload_plan(CudaState& state, const PlanData& plan, UploadedPlan*& uploaded) {
  for (UploadedPlan& known : state.plans) {
    uploaded = &known;
    if (known.serial == plan.serial) return {};
  }
  if (Status s = check_not_capturing(state, "this plan is"); !s.ok()) return s;
  UploadedPlan& target = state.plans[state.next_plan];
  target.serial = 0;
  target.kernels.clear();
  target.layout = lay_out(plan);
  const size_t bytes = target.layout.total;
  std::byte* staged = nullptr;
  cudaError_t error = cudaSuccess;
  // Those that hold none yet grow too, so that the next plans of this size allocate nothing.
  for (UploadedPlan& empty : state.plans) {
    if (empty.serial == 0 && error == cudaSuccess) {
      error = empty.memory.grow(std::max<size_t>(bytes, 1));
    }
  }
  if (error == cudaSuccess) error = state.staging.take(std::max<size_t>(bytes, 1), staged);
  if (error != cudaSuccess) return failed("memory for a plan", error);
  write_device_plan(plan, target.layout, {staged, bytes});
  error = state.staging.upload(target.memory.memory().data(), bytes, state.stream);
  if (error != cudaSuccess) return failed("upload of a plan", error);
  target.serial = plan.serial;
  state.next_plan = (state.next_plan + 1) % state.plans.size();
  uploaded = &target;
  return {};
}

KernelShape shape_of(const PlanData& plan, DType dtype, bool tall) {
  return {dtype, padded_dim(plan.spec.head_dim, plan.spec.head_dim_v), tall};
}

Status find_kernels(CudaState& state, const AttendCall& call, const CallExpression& expression,
                    UploadedPlan& uploaded, const PlanKernels*& kernels) {
  PlanKernels wanted;
  wanted.dtype = call.args.q.dtype;
  wanted.has_score = expression.score.exists();
  wanted.wide_score = wanted.has_score && expression.score.wide;
  for (const PlanKernels& known : uploaded.kernels) {
    kernels = &known;
    if (known.dtype == wanted.dtype && known.has_score == wanted.has_score &&
        known.wide_score == wanted.wide_score) {
      return {};
    }
  }
  if (Status s = check_not_capturing(state, "kernels for this plan are"); !s.ok()) return s;
  for (const bool tall : {true, false}) {
    const KernelShape shape = shape_of(call.plan, wanted.dtype, tall);
    if ((tall ? uploaded.layout.num_tall : uploaded.layout.num_short) == 0) continue;
    const std::string source = kernel_source(expression.mask, expression.score, shape);
    Status s = expression_kernel(source, shape, state.device, tall ? wanted.tall : wanted.low);
    if (!s.ok()) return s;
  }
  uploaded.kernels.push_back(wanted);
  kernels = &uploaded.kernels.back();
  return {};
}

// What a call needs on the device.
struct ReadyCall {
  UploadedPlan* uploaded = nullptr;
  const PlanKernels* kernels = nullptr;  // null: those of the build
};

Status make_ready(CudaState& state, const AttendCall& call, const CallExpression& expression,
                  ReadyCall& made) {
  if (Status s = upload_plan(state, call.plan, made.uploaded); !s.ok()) return s;
  if (!expression.exists()) return {};
  return find_kernels(state, call, expression, *made.uploaded, made.kernels);
}

// The layers of a step append to the same places: these are uploaded for the first one.
Status upload_places(CudaState& state, const AppendTask& task) {
  state.new_places.clear();
  for (int64_t token = 0; token < task.total_new; ++token) {
    const AppendPlace place = task.place(task, token);
    state.new_places.push_back({place.slot, place.rotary_position, 0});
  }
  const size_t bytes = state.new_places.size() * sizeof(DevicePlace);
  if (state.places.size() == state.new_places.size() &&
      std::memcmp(state.places.data(), state.new_places.data(), bytes) == 0) {
    return {};
  }
  if (Status s = check_not_capturing(state, "these places are"); !s.ok()) return s;
  state.places.clear();
  std::byte* staged = nullptr;
  cudaError_t error = state.places_memory.grow(bytes);
  if (error == cudaSuccess) error = state.staging.take(bytes, staged);
  if (error != cudaSuccess) return failed("memory for places of new tokens", error);
  std::memcpy(staged, state.new_places.data(), bytes);
  error = state.staging.upload(state.places_memory.memory().data(), bytes, state.stream);
  if (error != cudaSuccess) return failed("upload of places of new tokens", error);
  std::swap(state.places, state.new_places);
  return {};
}

// What a device lacks; empty where it has all.
std::string shortcoming(const cudaDeviceProp& device) {
  if (device.major < 8) {
    return "compute capability " + std::to_string(device.major) + "." +
           std::to_string(device.minor) + ", 8.0 is needed";
  }
  if (device.sharedMemPerBlockOptin >= static_cast<size_t>(largest_shared_bytes())) return {};
  return std::to_string(device.sharedMemPerBlockOptin) + " bytes of shared memory a block, " +
         std::to_string(largest_shared_bytes()) + " are needed";
}

class CudaBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "cuda"; }
  [[nodiscard]] Device device() const noexcept override { return Device::kCuda; }

  [[nodiscard]] Capability capability() const override {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count == 0) error = cudaErrorNoDevice;
    int current = 0;
    if (error == cudaSuccess) error = cudaGetDevice(&current);
    cudaDeviceProp device{};
    if (error == cudaSuccess) error = cudaGetDeviceProperties(&device, current);
    if (error != cudaSuccess) {
      static_cast<void>(cudaGetLastError());  // nobody else's business
      return {"cuda", false, cudaGetErrorString(error)};
    }
    const std::string what = device.name;
    const std::string lacks = shortcoming(device);
    if (!lacks.empty()) return {"cuda", false, what + " has " + lacks};
    return {"cuda", true,
            what + ", compute capability " + std::to_string(device.major) + "." +
                std::to_string(device.minor) + ", " + std::to_string(device.multiProcessorCount) +
                " SMs"};
  }

  Status create_state(const ContextOptions& options,
                      std::unique_ptr<BackendState>& state) const override {
    if (!options.isa.empty()) {
      return Status(Code::kInvalidArgument,
                    "isa is \"" + std::string(options.isa) + "\", the cuda backend has none");
    }
    auto made = std::make_unique<CudaState>();
    cudaError_t error = cudaGetDevice(&made->device);
    if (error == cudaSuccess) error = prepare_kernels();
    if (error != cudaSuccess) return failed("kernels", error);
    made->stream = static_cast<cudaStream_t>(options.stream);
    state = std::move(made);
    return {};
  }

  [[nodiscard]] std::string_view isa(const BackendState&) const noexcept override { return "none"; }
  [[nodiscard]] int32_t num_threads(const BackendState&) const noexcept override { return 1; }

  [[nodiscard]] Status supports_memory(std::string_view argument, Device device) const override {
    if (device == Device::kCuda) return {};
    return Status(Code::kUnsupported, std::string(argument) +
                                          ".device is cpu, the cuda backend works in device "
                                          "memory only");
  }

  Status supports(const PlanData& plan, const AttendArgs& args) const override {
    return supports_attend(plan, args);
  }

  [[nodiscard]] size_t workspace_bytes(const BackendState&,
                                       const PlanData& plan) const noexcept override {
    return state_bytes(plan);
  }

  Status own_workspace(BackendState& state, size_t bytes,
                       std::span<std::byte>& memory) const override {
    DeviceMemory& workspace = of(state).workspace;
    const OnDevice guard(of(state).device);
    if (bytes > workspace.memory().size()) {
      if (Status s = check_not_capturing(of(state), "this workspace is"); !s.ok()) return s;
    }
    const cudaError_t error = workspace.grow(std::max<size_t>(bytes, 1));
    if (error != cudaSuccess) return failed("workspace", error);
    memory = workspace.memory();
    return {};
  }

  Status prepare(BackendState& state, const AttendCall& call) const override {
    const OnDevice guard(of(state).device);
    ReadyCall ready;
    return make_ready(of(state), call, call_expression(call.plan, call.score), ready);
  }

  Status attend(BackendState& state, const AttendCall& call,
                std::span<std::byte> workspace) const override {
    const auto& [plan, args, score] = call;
    const CallExpression expression = call_expression(plan, score);
    if (args.stop.stop_requested()) {
      return Status(Code::kCancelled, "the stop token asked for it, nothing was launched");
    }
    CudaState& mine = of(state);
    const OnDevice guard(mine.device);
    ReadyCall ready;
    if (Status s = make_ready(mine, call, expression, ready); !s.ok()) return s;
    const DevicePlanLayout& layout = ready.uploaded->layout;
    const std::byte* plan_memory = ready.uploaded->memory.memory().data();
    const AttendParams params = attend_params(call, layout, plan_memory, workspace.data());
    const int64_t heads = plan.spec.num_heads_q;
    cudaError_t error = cudaSuccess;
    if (params.callers_states != 0) {
      error = launch_clear(params.states, int64_t{args.partial.num_splits} * plan.total_q * heads,
                           plan.spec.head_dim_v, mine.stream);
    }
    if (error == cudaSuccess) {
      const AttendLaunch launch = attend_launch(plan, args, layout, plan_memory);
      if (ready.kernels == nullptr) {
        error = launch_attend(launch, params, mine.stream);
      } else {
        mine.slots.resize(expression.num_slots());
        call_slots(plan, score, layout, plan_memory, mine.slots);
        error = launch_expressions(mine, *ready.kernels, launch, params);
      }
    }
    if (error == cudaSuccess && params.callers_states == 0) {
      error = launch_merge(plan_merge_params(layout, params, plan_memory), layout.num_merges,
                           layout.merge_tokens * heads, mine.stream);
    }
    return error == cudaSuccess ? Status() : failed("attend", error);
  }

  Status append(BackendState& state, const AppendTask& task) const override {
    if (Status s = supports_append(*task.args); !s.ok()) return s;
    CudaState& mine = of(state);
    const OnDevice guard(mine.device);
    const DevicePlace* places = nullptr;
    if (task.place != nullptr) {
      if (Status s = upload_places(mine, task); !s.ok()) return s;
      places = reinterpret_cast<const DevicePlace*>(mine.places_memory.memory().data());
    }
    const cudaError_t error = launch_append(append_params(task, places), mine.stream);
    return error == cudaSuccess ? Status() : failed("append", error);
  }

  Status convert(BackendState&, const KvView&, const KvView&) const override {
    return Status(Code::kUnsupported, "convert_kv works in host memory only");
  }

  Status merge(BackendState& state, const MergeTask& task) const override {
    if (Status s = supports_merge(task); !s.ok()) return s;
    CudaState& mine = of(state);
    const OnDevice guard(mine.device);
    const cudaError_t error =
        task.partials.empty() ? launch_merge_finished(merge_finished_params(task), mine.stream)
                              : launch_merge(merge_params(task), 1,
                                             task.out.shape[0] * task.out.shape[1], mine.stream);
    return error == cudaSuccess ? Status() : failed("merge_states", error);
  }

 private:
  static AttendLaunch attend_launch(const PlanData& plan, const AttendArgs& args,
                                    const DevicePlanLayout& layout, const std::byte* plan_memory) {
    AttendLaunch launch;
    launch.dtype = args.q.dtype;
    launch.padded_dim = padded_dim(plan.spec.head_dim, plan.spec.head_dim_v);
    launch.num_short = layout.num_short;
    launch.num_tall = layout.num_tall;
    launch.short_units = reinterpret_cast<const DeviceUnit*>(plan_memory + layout.short_units);
    launch.tall_units = reinterpret_cast<const DeviceUnit*>(plan_memory + layout.tall_units);
    launch.kv_heads = layout.unit_heads;
    return launch;
  }

  static cudaError_t launch_expressions(CudaState& state, const PlanKernels& kernels,
                                        const AttendLaunch& launch, const AttendParams& params) {
    const auto of = [&](bool tall) { return KernelShape{launch.dtype, launch.padded_dim, tall}; };
    const cudaError_t error =
        launch_expression(kernels.tall, of(true), params, state.slots,
                          {launch.tall_units, launch.num_tall, launch.kv_heads}, state.stream);
    if (error != cudaSuccess) return error;
    return launch_expression(kernels.low, of(false), params, state.slots,
                             {launch.short_units, launch.num_short, launch.kv_heads}, state.stream);
  }
};

}  // namespace
}  // namespace attnrt::cuda

extern "C" __attribute__((visibility("default"))) const attnrt::Backend* attnrt_cuda_backend(
    const attnrt::BackendAbi* abi) {
  static const attnrt::cuda::CudaBackend backend;
  return abi != nullptr && abi->same(attnrt::BackendAbi()) ? &backend : nullptr;
}
