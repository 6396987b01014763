// SPDX-License-Identifier: Apache-2.0
#include "perf/measured_device.hpp"

#include <algorithm>
#include <vector>

#include "perf/random_fill.hpp"

namespace attnrt::perf {

void fill_random(MeasuredDevice& device, std::byte* data, DType dtype, int64_t elements,
                 uint64_t seed) {
  if (device.host_memory()) {
    random_fill(data, dtype, elements, seed);
    return;
  }
  constexpr int64_t kPieceElements = int64_t{32} << 20;
  std::vector<std::byte> piece;
  for (int64_t done = 0; done < elements; done += kPieceElements) {
    const int64_t count = std::min(kPieceElements, elements - done);
    piece.resize(static_cast<size_t>(count * size_of(dtype)));
    random_fill(piece.data(), dtype, count, seed + static_cast<uint64_t>(done));
    device.copy_in(data + done * size_of(dtype), piece.data(), piece.size());
  }
}

}  // namespace attnrt::perf
