// SPDX-License-Identifier: Apache-2.0
// attend: check once, then hand over to the backend.
#include "attnrt/attention.hpp"

#include "src/context.hpp"
#include "src/validate.hpp"

namespace attnrt {
namespace {

// Checks a call, and hands it to `body(executor, call, workspace)`.
template <class Body>
Status with_call(Context& context, const Plan& plan, const AttendArgs& args, const Body& body) {
  return guarded([&]() -> Status {
    if (Status status = ready(context); !status.ok()) return status;
    if (!plan.valid()) return Status(Code::kInvalidArgument, "plan is empty, make_plan fills it");
    const PlanData& data = *plan.data();
    if (Status status = validate_attend(data, args); !status.ok()) return status;

    Context::Impl& impl = *context.impl();
    Executor by;
    if (Status status = executor_for(impl, args.q.device, by); !status.ok()) return status;
    if (Status status = by.backend->supports(data, args); !status.ok()) return status;
    BoundScore score;
    if (Status status = bind_score(data, args, impl.score, score); !status.ok()) return status;
    std::span<std::byte> workspace;
    const size_t bytes = by.backend->workspace_bytes(*by.state, data);
    if (Status status = acquire_workspace(impl, by, bytes, workspace); !status.ok()) return status;
    return body(by, {data, args, score}, workspace);
  });
}

}  // namespace

Status attend(Context& context, const Plan& plan, const AttendArgs& args) {
  return with_call(context, plan, args,
                   [](Executor& by, const AttendCall& call, std::span<std::byte> workspace) {
                     return by.backend->attend(*by.state, call, workspace);
                   });
}

Status Context::reserve(const Plan& plan, const AttendArgs& args) {
  return with_call(*this, plan, args,
                   [](Executor& by, const AttendCall& call, std::span<std::byte>) {
                     return by.backend->prepare(*by.state, call);
                   });
}

}  // namespace attnrt
