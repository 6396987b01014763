// SPDX-License-Identifier: Apache-2.0
// attend: check once, then hand over to the backend.
#include "attnrt/attention.hpp"

#include "src/context.hpp"
#include "src/validate.hpp"

namespace attnrt {

Status attend(Context& context, const Plan& plan, const AttendArgs& args) {
  return guarded([&]() -> Status {
    if (Status status = ready(context); !status.ok()) return status;
    if (!plan.valid()) return Status(Code::kInvalidArgument, "plan is empty, make_plan fills it");
    const PlanData& data = *plan.data();
    if (Status status = validate_attend(data, args); !status.ok()) return status;

    Context::Impl& impl = *context.impl();
    if (Status status = impl.backend->supports(data, args); !status.ok()) return status;
    BoundScore score;
    if (Status status = bind_score(data, args, impl.score, score); !status.ok()) return status;
    std::span<std::byte> workspace;
    const size_t bytes = impl.backend->workspace_bytes(*impl.state, data);
    if (Status status = acquire_workspace(impl, bytes, workspace); !status.ok()) return status;
    return impl.backend->attend(*impl.state, {data, args, score}, workspace);
  });
}

}  // namespace attnrt
