// SPDX-License-Identifier: Apache-2.0
// The attention kernels with a mistake each: what the emulator and the comparison must find. A
// mistake is a member function written anew for a shape of its own.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "backends/cuda/kernels/attend.cuh"
#include "backends/cuda/kernels/shapes.hpp"
#include "tests/backends/cuda/rotated_query.hpp"
#include "tests/support/check.hpp"
#include "tests/support/simt_attend.hpp"

namespace attnrt::cuda {
namespace {

struct NoMistake : TallShape<64> {};
struct NoWait : TallShape<64> {};
struct NoBarrier : TallShape<64> {};
struct MaskOffByOne : TallShape<64> {};
struct SourcesOffByOne : TallShape<64> {};
struct StatesShifted : TallShape<64> {};
struct SumsUnscaled : TallShape<64> {};
struct KeepsNan : TallShape<64> {};
struct EmptySplitForgotten : TallShape<64> {};
struct PositionEarly : TallShape<64> {};

}  // namespace

template <>
inline void AttendBlock<Half, NoWait>::next_tile(int32_t tile) {
  device::sync_block();
  copy(tile + NoWait::kSlots - 1);
}

template <>
inline void AttendBlock<Half, NoBarrier>::next_tile(int32_t tile) {
  device::copy_async_wait<NoBarrier::kSlots - 2>();
  copy(tile + NoBarrier::kSlots - 1);
}

template <>
inline bool Softmax<Half, MaskOffByOne>::sees(int half, int32_t key) const {
  return key >= keys_[half].begin && key <= keys_[half].end;
}

template <>
inline void AttendBlock<Half, SourcesOffByOne>::note_sources(int32_t i) {
  if (device::thread_index() >= kBlockKeys) return;
  device::shared_store(sources_of(i + 2) + device::thread_index() * 8, next_source_);
  next_source_ = places().source_of(my_key(blocks_.ahead(i + 3)) + 1);
}

template <>
inline int64_t AttendBlock<Half, StatesShifted>::state_at(int32_t split, const Row& row) const {
  const int64_t token = unit_.state_token + int64_t{split - 1} * unit_.state_stride + row.token;
  return token * params_.output.heads_q + row.head;
}

template <>
inline void Softmax<Half, SumsUnscaled>::finish(RowState (&state)[2]) const {
  for (int half = 0; half < 2; ++half) {
    state[half] = {device::mul(max_[half], kLn2), sums_[half][0] + sums_[half][1]};
  }
}

template <>
inline bool FiniteTile<Half, KeepsNan>::has_non_finite() const {
  return false;
}

template <>
inline void AttendBlock<Half, EmptySplitForgotten>::clear_unseen_splits(int32_t, int32_t) {}

template <>
inline Quad Rows::rotated_chunk<Half, PositionEarly>(const AttendParams& params,
                                                     const uint16_t* row, uint32_t chunk,
                                                     int64_t position) {
  return rotated_chunk<Half, NoMistake>(params, row, chunk, position - 1);
}

}  // namespace attnrt::cuda

namespace attnrt::test {
namespace {

template <class Shape>
SimtAttend with() {
  SimtAttend options;
  options.tall_kernel = {
      [](const cuda::AttendParams& params) { cuda::AttendBlock<cuda::Half, Shape>(params).run(); },
      Shape::kThreads, Shape::kSharedBytes, Shape::kHeadsTogether};
  return options;
}

// Several splits in items of their own, a block that some rows see in part, masked NaN in V, and
// rows that see nothing of some splits.
Problem problem() {
  ProblemShape shape;
  shape.spec.num_heads_q = 64;
  shape.spec.num_heads_kv = 1;
  shape.spec.head_dim = 64;
  shape.spec.causal = true;
  shape.spec.window_left = 200;
  shape.q_dtype = shape.kv_dtype = shape.out_dtype = DType::kF16;
  shape.page_size = 5;
  shape.sequences = {{4, 1026}};
  Problem result(shape);
  result.set_v(0, 1025, 0, 3, std::nan(""));
  return result;
}

template <class Shape>
std::string finding_on(const Problem& one, const Problem& same) {
  Output output = one.make_output();
  const std::string wrong = simt_attend(one, output, with<Shape>());
  if (!wrong.empty()) return "emulator: " + wrong;
  return check_close(one, expect(same), output, reference::Weights::kBFloat16);
}

template <class Shape>
std::string finding() {
  const Problem one = problem();
  return finding_on<Shape>(one, one);
}

template <class Shape>
std::string finding_of_rotary() {
  ProblemShape shape = problem().shape();
  shape.rotary = Rotary::kInterleaved;
  const Problem one(shape);
  return finding_on<Shape>(one, rotated_beforehand(one));
}

bool found_by(const std::string& finding, const std::string& word) {
  CAPTURE(finding);
  const bool found = finding.find(word) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_SUITE("attention kernels that are wrong on purpose") {
  TEST_CASE("without a mistake nothing is found") {
    CHECK(finding<cuda::NoMistake>() == "");
    CHECK(finding_of_rotary<cuda::NoMistake>() == "");
  }

  TEST_CASE("mistakes in the pipeline are found by the emulator") {
    found_by(finding<cuda::NoWait>(), "before cp.async was waited for");
    found_by(finding<cuda::NoBarrier>(), "emulator: shared address");
    found_by(finding<cuda::StatesShifted>(), "outside of all buffers");
  }

  TEST_CASE("mistakes in keys, masks, states and sums are found by the comparison") {
    found_by(finding<cuda::MaskOffByOne>(), " at token ");
    found_by(finding<cuda::SourcesOffByOne>(), " at token ");
    found_by(finding<cuda::SumsUnscaled>(), "lse is ");
    found_by(finding<cuda::KeepsNan>(), "out is nan");
    found_by(finding<cuda::EmptySplitForgotten>(), " at token ");
    found_by(finding_of_rotary<cuda::PositionEarly>(), " at token ");
  }
}

}  // namespace attnrt::test
