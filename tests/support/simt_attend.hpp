// SPDX-License-Identifier: Apache-2.0
// attend, append and merge of the CUDA backend with its kernels emulated: the same packing of plans
// and parameters, the same kernels, launched as the backend launches them.
#pragma once

#include <cstdint>
#include <string>

#include "backends/cuda/kernels/expression.cuh"
#include "backends/cuda/kernels/params.hpp"
#include "src/backend.hpp"
#include "tests/support/problem.hpp"
#include "tests/support/simt_launch.hpp"

namespace attnrt::test {

/// A kernel whose mask and score are what `expression` points to, with head dims padded to 64 or
/// 192, of bf16.
SimtKernel simt_expression_kernel(bool mask, bool score, int32_t padded_dim, bool tall);

/// A printed expression as functions; a null one is not there.
struct SimtExpression {
  bool (*sees)(const cuda::DeviceSlot* slots, const cuda::ExprPoint& at) = nullptr;
  float (*score)(const cuda::DeviceSlot* slots, const cuda::ExprPoint& at, float score) = nullptr;
};

/// What kernels of simt_expression_kernel ask from now on.
void set_simt_expression(const SimtExpression& expression, const cuda::DeviceSlot* slots);

struct SimtAttend {
  bool reversed = false;
  SimtKernel short_kernel{};  // in place of the real ones
  SimtKernel tall_kernel{};
  bool lse = true;
  // Finds what was compiled of a printed expression; null where nothing was.
  const SimtExpression* (*find)(const std::string& source) = nullptr;
};

/// Plans and attends into `output`, or into `partial` where that is set. Empty, or what is wrong.
std::string simt_attend(const Problem& problem, Output& output, const SimtAttend& options = {},
                        const PartialView& partial = {});

/// The same for arguments that are not of a Problem; every buffer must be named in `memory`.
std::string simt_attend(const PlanData& plan, const AttendArgs& args, SimtMemory& memory,
                        const SimtAttend& options = {});

std::string simt_merge(const MergeTask& task, const SimtMemory& memory);
std::string simt_append(const AppendTask& task, const SimtMemory& memory);

/// Names the tensors of a call.
void name_buffers(const AttendArgs& args, const PlanData& plan, SimtMemory& memory);
void name_cache(const KvView& kv, bool writable, SimtMemory& memory);
void name_tables(std::span<const expr::SlotValue> values, SimtMemory& memory);

}  // namespace attnrt::test
