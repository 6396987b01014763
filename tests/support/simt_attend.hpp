// SPDX-License-Identifier: Apache-2.0
// attend, append and merge of the CUDA backend with its kernels emulated: the same packing of plans
// and parameters, the same kernels, launched as the backend launches them.
#pragma once

#include <cstdint>
#include <string>

#include "backends/cuda/kernels/params.hpp"
#include "src/backend.hpp"
#include "tests/support/problem.hpp"
#include "tests/support/simt.hpp"

namespace attnrt::test {

/// A kernel as C++, and how it is launched.
struct SimtKernel {
  void (*run)(const cuda::AttendParams& params) = nullptr;
  uint32_t threads = 0;
  uint32_t shared_bytes = 0;
  bool heads_together = false;
};

SimtKernel simt_attend_kernel(DType dtype, int32_t padded_dim, bool tall);

struct SimtAttend {
  bool reversed = false;
  SimtKernel short_kernel{};  // in place of the real ones
  SimtKernel tall_kernel{};
  bool lse = true;
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

}  // namespace attnrt::test
