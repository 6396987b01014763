// SPDX-License-Identifier: Apache-2.0
// The flat plan that is uploaded, without a device.
#include "backends/cuda/device_plan.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "tests/support/aligned_bytes.hpp"

namespace attnrt::cuda {
namespace {

struct Uploaded {
  DevicePlanLayout layout;
  test::AlignedBytes bytes;

  explicit Uploaded(const PlanData& plan)
      : layout(lay_out(plan)), bytes(layout.total + 16, std::byte{0xee}) {
    write_device_plan(plan, layout, {bytes.data(), layout.total});
  }
  template <class T>
  [[nodiscard]] T at(size_t begin, size_t index) const {
    T value;
    std::memcpy(&value, bytes.data() + begin + index * sizeof(T), sizeof value);
    return value;
  }
};

Plan planned(const AttentionSpec& spec, const std::vector<int32_t>& cu_seqlens_q,
             const std::vector<int32_t>& seqused_k, const std::vector<int32_t>& pages,
             int32_t max_pages) {
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens_q;
  batch.seqused_k = seqused_k;
  batch.block_table = BlockTable::dense(pages, max_pages, 256);
  Plan plan;
  const Status status = make_plan(spec, batch, plan);
  REQUIRE_MESSAGE(status.ok(), status.message());
  return plan;
}

}  // namespace

TEST_SUITE("device plan") {
  TEST_CASE("head dims are padded to what kernels are built for") {
    CHECK(padded_dim(1, 1) == 64);
    CHECK(padded_dim(64, 65) == 128);
    CHECK(padded_dim(192, 128) == 192);
    CHECK(padded_dim(200, 256) == 256);
    CHECK(padded_dim(257, 64) == 0);
  }

  TEST_CASE("every row and split of the plan stands in exactly one unit, states do not overlap") {
    const AttentionSpec spec{.num_heads_q = 12, .num_heads_kv = 2, .head_dim = 128, .causal = true};
    const std::vector<int32_t> pages = {9, 8, 7, 6, 5, 4, 3, 2, /**/ 10, 11, 12, 0, 0, 0, 0, 0};
    const Plan plan = planned(spec, {0, 1, 101}, {2000, 600}, pages, 8);
    const PlanData& data = *plan.data();
    const Uploaded up(data);
    CHECK(up.layout.num_short + up.layout.num_tall > 2);
    std::vector<int> seen(static_cast<size_t>(data.total_q) * 6 * 4, 0);
    for (const bool tall : {false, true}) {
      const uint32_t count = tall ? up.layout.num_tall : up.layout.num_short;
      for (uint32_t i = 0; i < count; ++i) {
        const auto unit = up.at<DeviceUnit>(tall ? up.layout.tall_units : up.layout.short_units, i);
        CHECK(unit.row_end - unit.row_begin <= (tall ? 128 : 16));
        CHECK(unit.row_end > unit.row_begin);
        const auto seq = up.at<DeviceSequence>(up.layout.sequences, static_cast<size_t>(unit.seq));
        for (int32_t row = unit.row_begin; row < unit.row_end; ++row) {
          for (int32_t split = unit.split_begin; split < unit.split_end; ++split) {
            const int32_t at = (seq.q_begin + unit.token_begin) * 6 + row;
            ++seen[static_cast<size_t>(at * 4 + split)];
          }
        }
      }
    }
    for (int32_t row = 0; row < data.total_q * 6; ++row) {
      const int32_t splits = row < 6 ? 4 : 2;  // the second sequence has 600 keys
      for (int32_t split = 0; split < 4; ++split) {
        CHECK(seen[static_cast<size_t>(row * 4 + split)] == (split < splits ? 1 : 0));
      }
    }
    CHECK(up.bytes.data()[up.layout.total] == std::byte{0xee});
  }

  TEST_CASE("pages follow each other, sequence by sequence, those that are needed") {
    const AttentionSpec spec{.num_heads_q = 2, .num_heads_kv = 2, .head_dim = 64};
    const std::vector<int32_t> pages = {4, 5, 6, 7, 0, 0, 9, 0, 0};
    const Plan plan = planned(spec, {0, 1, 2, 3}, {513, 0, 256}, pages, 3);
    const Uploaded up(*plan.data());
    const std::vector<int32_t> want = {4, 5, 6, 9};
    for (size_t i = 0; i < want.size(); ++i) {
      CHECK(up.at<int32_t>(up.layout.pages, i) == want[i]);
    }
    CHECK(up.at<DeviceSequence>(up.layout.sequences, 2).first_page == 3);
    CHECK(up.at<DeviceSequence>(up.layout.sequences, 2).kv_len == 256);
  }

  TEST_CASE("a tile in several items is merged, and its states begin at its first split") {
    const AttentionSpec spec{
        .num_heads_q = 2, .num_heads_kv = 2, .head_dim = 64, .causal = true, .window_left = 700};
    const std::vector<int32_t> pages = {0, 1, 2, 3, 4, 5, 6, 7};
    const Plan plan = planned(spec, {0, 1}, {2048}, pages, 8);
    const Uploaded up(*plan.data());
    REQUIRE(up.layout.num_merges == 1);
    const auto merge = up.at<DeviceMerge>(up.layout.merges, 0);
    CHECK(merge.num_splits == 2);
    CHECK(merge.tokens == 1);
    for (uint32_t i = 0; i < up.layout.num_short; ++i) {
      const auto unit = up.at<DeviceUnit>(up.layout.short_units, i);
      CHECK(unit.stores_states == 1);
      // Splits 2 and 3 have places 0 and 1.
      CHECK(unit.state_token + unit.split_begin * unit.state_stride ==
            merge.state_token + unit.split_begin - 2);
    }
  }
}

}  // namespace attnrt::cuda
