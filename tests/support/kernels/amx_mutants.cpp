// SPDX-License-Identifier: Apache-2.0
// The AMX kernels with a mistake each, built like the real ones: what tests must find. The first
// has none.
#include "backends/cpu/kernels/amx_products_inl.hpp"
#include "backends/cpu/kernels/avx512_inl.hpp"

namespace attnrt::cpu {
namespace {

struct Avx512Amx : Avx512ToBf16 {};

template <>
inline int32_t tile_height<Avx512Amx>(int32_t left) {
  return left < kAmxTallest ? left : kAmxTallest;
}

struct WrongInterleave : Bf16Dot {};
struct WrongStride : Bf16Dot {};
struct WrongKeys : Bf16Dot {};

template <>
struct UnpairedOf<WrongInterleave> {
  using Type = Bf16Lines;
};
template <>
struct UnpairedOf<WrongStride> {
  using Type = Bf16Lines;
};
template <>
struct UnpairedOf<WrongKeys> {
  using Type = Bf16Lines;
};

// Dims of a pair change places in q.
template <>
class MatrixProducts<WrongInterleave> : public AmxProducts<WrongInterleave> {
 public:
  using AmxProducts::AmxProducts;
  void put_query(const float* q, int64_t dim, int32_t i, int32_t height, uint32_t* tile) const {
    float swapped[1024];
    for (int64_t d = 0; d < dim; ++d) swapped[d] = q[d ^ 1];
    AmxProducts::put_query(swapped, dim, i, height, tile);
  }
};

// Columns of V half as far apart as they are.
template <>
class MatrixProducts<WrongStride> : public AmxProducts<WrongStride> {
 public:
  using AmxProducts::AmxProducts;
  void begin_block(const KvBlock<WrongStride>& block, int32_t first, int32_t last) {
    wrong_ = block;
    wrong_.v_stride /= 2;
    AmxProducts::begin_block(wrong_, first, last);
  }

 private:
  KvBlock<WrongStride> wrong_;
};

// V of the last 32 keys of a block is forgotten.
template <>
class MatrixProducts<WrongKeys> : public AmxProducts<WrongKeys> {
 public:
  using AmxProducts::AmxProducts;
  template <class AheadT>
  void values(const uint32_t* p, int32_t height, int32_t first, int32_t last, float* acc,
              AheadT& ahead) const {
    AmxProducts::values(p, height, first, last - kAmxSteps, acc, ahead);
  }
};

}  // namespace
}  // namespace attnrt::cpu

namespace attnrt::test {

extern const cpu::AttendKernel kAmxMutants[4];
const cpu::AttendKernel kAmxMutants[4] = {
    cpu::attend_bf16_dot<cpu::Avx512Amx, cpu::AmxDot>,
    cpu::attend_bf16_dot<cpu::Avx512Amx, cpu::WrongInterleave>,
    cpu::attend_bf16_dot<cpu::Avx512Amx, cpu::WrongStride>,
    cpu::attend_bf16_dot<cpu::Avx512Amx, cpu::WrongKeys>,
};

}  // namespace attnrt::test
