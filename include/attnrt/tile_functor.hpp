// SPDX-License-Identifier: Apache-2.0
// A functor of one element as a tile hook: the loop over a row is compiled with the caller's code,
// so the functor is inlined into it and the caller's compiler vectorises it for the caller's
// machine.
//
//   const auto bias = [&](float score, const TileElement& at) { return score + table[at.key]; };
//   args.score_hook = tile_hook(bias);  // `bias` must outlive the call
#pragma once

#include <cstdint>

#include "attnrt/attention.hpp"

namespace attnrt {

/// Where an element of a tile stands.
struct TileElement {
  int32_t seq = 0;
  int32_t head = 0;        // of q
  int64_t position = 0;    // logical, of the query token
  int32_t key = 0;         // logical
  float reference = 0.0f;  // of weights, as TileRow
};

/// A hook that sets each element to functor(value, element). Borrows the functor, which is called
/// by several threads at once: float operator()(float, const TileElement&) const.
template <class Functor>
TileHook tile_hook(const Functor& functor) noexcept {
  const auto call = [](const TileRow& row, void* user) {
    const Functor& element = *static_cast<const Functor*>(user);
    TileElement at{row.seq, row.head, row.position, row.key_begin, row.reference};
    for (int32_t i = 0; i < row.num_keys; ++i) {
      at.key = row.key_begin + i;
      row.values[i] = element(row.values[i], at);
    }
  };
  return {call, const_cast<Functor*>(&functor)};  // NOLINT: only ever called as const
}

}  // namespace attnrt
