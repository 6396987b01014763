// SPDX-License-Identifier: Apache-2.0
// merge_states: check, then hand over to the backend.
#include "src/context.hpp"
#include "src/validate.hpp"

namespace attnrt {
namespace {

template <class State>
Status merge(Context& context, std::span<const State> states,
             std::span<const State> MergeTask::*field, MergeTask task,
             std::span<const float> sinks) {
  return guarded([&]() -> Status {
    if (Status status = ready(context); !status.ok()) return status;
    if (Status status = validate_merge(states, task.out, task.lse, sinks); !status.ok()) {
      return status;
    }
    Executor by;
    if (Status s = executor_for(*context.impl(), task.out.device, by); !s.ok()) return s;
    if (Status s = by.backend->supports_memory("out", task.out.device); !s.ok()) return s;
    if (task.out.shape[0] == 0) return {};
    task.*field = states;
    task.sinks = sinks.empty() ? nullptr : sinks.data();
    return by.backend->merge(*by.state, task);
  });
}

}  // namespace

Status merge_states(Context& context, std::span<const StateView> states, TensorView out,
                    LseView lse, std::span<const float> sinks) {
  MergeTask task;
  task.out = out;
  task.lse = lse;
  return merge(context, states, &MergeTask::states, task, sinks);
}

Status merge_states(Context& context, std::span<const PartialView> partials, TensorView out,
                    LseView lse, std::span<const float> sinks) {
  MergeTask task;
  task.out = out;
  task.lse = lse;
  return merge(context, partials, &MergeTask::partials, task, sinks);
}

}  // namespace attnrt
