// SPDX-License-Identifier: Apache-2.0
// The attention kernels with expressions, once for all of them: what is asked is found when it is.
#include "backends/cuda/kernels/attend.cuh"
#include "backends/cuda/kernels/shapes.hpp"
#include "tests/support/simt_attend.hpp"

namespace attnrt::test {
namespace {

SimtExpression current;
const cuda::DeviceSlot* current_slots = nullptr;

template <bool kHasMask, bool kHasScore>
struct Current {
  static constexpr bool kMask = kHasMask;
  static constexpr bool kScore = kHasScore;
  [[nodiscard]] bool sees(const cuda::ExprPoint& at) const {
    return current.sees(current_slots, at);
  }
  [[nodiscard]] float score(const cuda::ExprPoint& at, float score) const {
    return current.score(current_slots, at, score);
  }
};

template <class Shape, bool kHasMask, bool kHasScore>
SimtKernel kernel_of() {
  return {[](const cuda::AttendParams& params) {
            const Current<kHasMask, kHasScore> expression;
            cuda::AttendBlock<cuda::BFloat16, Shape, Current<kHasMask, kHasScore>>(params,
                                                                                   expression)
                .run();
          },
          Shape::kThreads, Shape::kSharedBytes, Shape::kHeadsTogether};
}

template <class Shape>
SimtKernel kernel_of_kind(bool mask, bool score) {
  if (!score) return kernel_of<Shape, true, false>();
  return mask ? kernel_of<Shape, true, true>() : kernel_of<Shape, false, true>();
}

}  // namespace

SimtKernel simt_expression_kernel(bool mask, bool score, int32_t padded_dim, bool tall) {
  if (padded_dim == 64) {
    return tall ? kernel_of_kind<cuda::TallShape<64>>(mask, score)
                : kernel_of_kind<cuda::ShortShape<64>>(mask, score);
  }
  return tall ? kernel_of_kind<cuda::TallShape<192>>(mask, score)
              : kernel_of_kind<cuda::ShortShape<192>>(mask, score);
}

void set_simt_expression(const SimtExpression& expression, const cuda::DeviceSlot* slots) {
  current = expression;
  current_slots = slots;
}

}  // namespace attnrt::test
