// SPDX-License-Identifier: Apache-2.0
// From the arguments of a call to the parameters of kernels. Knows no CUDA, so that tests need
// none.
#pragma once

#include "backends/cuda/device_plan.hpp"
#include "backends/cuda/kernels/params.hpp"
#include "src/backend.hpp"

namespace attnrt::cuda {

/// Bytes that the states of split tiles take in the workspace.
size_t state_bytes(const PlanData& plan) noexcept;

/// `plan_memory` holds what write_device_plan wrote, `state_memory` state_bytes bytes, aligned to
/// 16; both are addresses of the device. The units are those of the caller's choice.
AttendParams attend_params(const AttendCall& call, const DevicePlanLayout& layout,
                           const std::byte* plan_memory, std::byte* state_memory) noexcept;

/// The merge of a plan's split tiles.
MergeParams plan_merge_params(const DevicePlanLayout& layout, const AttendParams& attend,
                              const std::byte* plan_memory) noexcept;

/// merge_states: at most kMaxSources of one kind.
MergeParams merge_params(const MergeTask& task) noexcept;
MergeFinishedParams merge_finished_params(const MergeTask& task) noexcept;

AppendParams append_params(const AppendTask& task, const DevicePlace* places) noexcept;

}  // namespace attnrt::cuda
