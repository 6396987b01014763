// SPDX-License-Identifier: Apache-2.0
// What merge_states refuses.
#include <limits>

#include "src/validate_tensors.hpp"

namespace attnrt {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

Status check_count(std::string_view name, size_t count) {
  if (count > 0 && count <= static_cast<size_t>(kMaxInt32)) return {};
  return refuse(name, " has ", count, " entries, must have 1..", kMaxInt32);
}

// The shape of `out` is the one that everything else is compared with.
Status check_out(const TensorView& out, const LseView& lse, std::span<const float> sinks) {
  const std::array<int64_t, 3>& shape = out.shape;
  if (shape[0] < 0) return refuse("out.shape[0] is ", shape[0], ", must not be negative");
  for (size_t axis = 1; axis < 3; ++axis) {
    if (shape[axis] <= 0 || shape[axis] > kMaxInt32) {
      return refuse("out.shape[", axis, "] is ", shape[axis], ", must be 1..", kMaxInt32);
    }
  }
  if (Status s = check_tensor({"out"}, out, {{{shape[0], ""}, {shape[1], ""}, {shape[2], ""}}},
                              Access::kWrite);
      !s.ok()) {
    return s;
  }
  if (Status s = check_lse("lse", lse); !s.ok()) return s;
  if (sinks.empty() || static_cast<int64_t>(sinks.size()) == shape[1]) return {};
  return refuse("sinks has ", sinks.size(), " entries, must have ", shape[1], " (heads)");
}

NamedRange floats(ArgName name, const float* data, int64_t a, int64_t b, int64_t c) {
  return {name, byte_range(data, capped_mul(capped_mul(capped_mul(a, b), c), 4))};
}

struct Outputs {
  NamedRange out;
  NamedRange lse;
};

Outputs outputs_of(const TensorView& out, const LseView& lse) {
  Outputs outputs = {range_of({"out"}, out), {{"lse"}, {}}};
  if (lse.data != nullptr) {
    outputs.lse = floats({"lse"}, lse.data, out.shape[0], out.shape[1], 1);
  }
  return outputs;
}

Status check_outputs_apart(const Outputs& outputs, std::span<const NamedRange> inputs) {
  if (Status s = check_apart(outputs.out, inputs); !s.ok()) return s;
  return check_apart(outputs.lse, inputs);
}

Status check_state(const StateView& state, int64_t index, const TensorView& out,
                   const Outputs& outputs) {
  const std::array<int64_t, 3>& shape = out.shape;
  const ArgName name = {"states", index, ".out"};
  if (Status s = check_tensor(
          name, state.out,
          {{{shape[0], "as in out"}, {shape[1], "as in out"}, {shape[2], "as in out"}}},
          Access::kRead);
      !s.ok()) {
    return s;
  }
  if (state.out.device != out.device) {
    return refuse(name, ".device is not that of out");
  }
  const ArgName lse_name = {"states", index, ".lse"};
  if (Status s = check_pointer(lse_name, state.lse, shape[0], DType::kF32); !s.ok()) return s;
  const NamedRange inputs[] = {range_of(name, state.out),
                               floats(lse_name, state.lse, shape[0], shape[1], 1)};
  return check_outputs_apart(outputs, inputs);
}

Status check_partial(const PartialView& partial, int64_t index, const TensorView& out,
                     const Outputs& outputs) {
  const std::array<int64_t, 3>& shape = out.shape;
  if (partial.num_splits < 0) {
    return refuse("partials[", index, "].num_splits is ", partial.num_splits,
                  ", must not be negative");
  }
  const int64_t states = capped_mul(capped_mul(shape[0], shape[1]), int64_t{partial.num_splits});
  const ArgName names[] = {
      {"partials", index, ".acc"}, {"partials", index, ".ref"}, {"partials", index, ".sum"}};
  const float* const data[] = {partial.acc, partial.ref, partial.sum};
  NamedRange inputs[3];
  for (size_t i = 0; i < 3; ++i) {
    if (Status s = check_pointer(names[i], data[i], states, DType::kF32); !s.ok()) return s;
    inputs[i] = floats(names[i], data[i], states, i == 0 ? shape[2] : 1, 1);
  }
  return check_outputs_apart(outputs, inputs);
}

Status check_own(const Outputs& outputs, std::span<const float> sinks) {
  if (Status s = check_apart(outputs.lse, {&outputs.out, 1}); !s.ok()) return s;
  const NamedRange sink_range = range_of({"sinks"}, sinks);
  return check_outputs_apart(outputs, {&sink_range, 1});
}

}  // namespace

Status validate_merge(std::span<const StateView> states, const TensorView& out, const LseView& lse,
                      std::span<const float> sinks) {
  if (Status s = check_count("states", states.size()); !s.ok()) return s;
  if (Status s = check_out(out, lse, sinks); !s.ok()) return s;
  const Outputs outputs = outputs_of(out, lse);
  for (size_t i = 0; i < states.size(); ++i) {
    if (Status s = check_state(states[i], static_cast<int64_t>(i), out, outputs); !s.ok()) return s;
  }
  return check_own(outputs, sinks);
}

Status validate_merge(std::span<const PartialView> partials, const TensorView& out,
                      const LseView& lse, std::span<const float> sinks) {
  if (Status s = check_count("partials", partials.size()); !s.ok()) return s;
  if (Status s = check_out(out, lse, sinks); !s.ok()) return s;
  const Outputs outputs = outputs_of(out, lse);
  for (size_t i = 0; i < partials.size(); ++i) {
    if (Status s = check_partial(partials[i], static_cast<int64_t>(i), out, outputs); !s.ok()) {
      return s;
    }
  }
  return check_own(outputs, sinks);
}

}  // namespace attnrt
