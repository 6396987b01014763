// SPDX-License-Identifier: Apache-2.0
// What this backend refuses, by name. Knows no CUDA, so that tests need none.
#pragma once

#include "attnrt/attention.hpp"
#include "src/backend.hpp"

namespace attnrt::cuda {

Status supports_attend(const PlanData& plan, const AttendArgs& args);
Status supports_append(const AppendArgs& args);
Status supports_merge(const MergeTask& task);

}  // namespace attnrt::cuda
