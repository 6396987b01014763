// SPDX-License-Identifier: Apache-2.0
// Shared memory of an emulated block: bytes, and for every word who wrote and read it when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace attnrt::test {

/// A thread at a point of its life. Barriers of the block move `block` on, those of its warp (every
/// warp collective is one) move `warp` on.
struct SimtMoment {
  uint32_t thread = 0;
  uint32_t block = 0;
  uint32_t warp = 0;
};

class SimtShared {
 public:
  /// Forgets everything. `moment` is the block epoch that the new block begins with.
  void reset(size_t bytes, uint32_t moment);

  // Empty, or what is wrong.
  std::string read(uint32_t address, void* value, uint32_t bytes, SimtMoment now);
  std::string write(uint32_t address, const void* value, uint32_t bytes, SimtMoment now);

  /// cp.async: the bytes are unknown from `begin` until `end`.
  std::string begin_copy(uint32_t address, SimtMoment now);
  void end_copy(uint32_t address, const std::byte (&bytes)[16], SimtMoment now);

 private:
  struct Word {
    uint32_t written_block = 0;
    uint32_t written_warp = 0;
    uint32_t read_block = 0;
    uint16_t writer = 0;
    uint16_t reader_warp = 0;  // kManyWarps: several in that block epoch
    uint16_t copies = 0;       // cp.async under way
  };
  std::string check_range(const char* what, uint32_t address, uint32_t bytes) const;
  [[nodiscard]] std::string check_written(const Word& word, uint32_t address, SimtMoment now) const;
  std::string check_overwritten(uint32_t address, uint32_t bytes, SimtMoment now) const;

  std::vector<std::byte> bytes_;
  std::vector<Word> words_;
  uint32_t first_moment_ = 1;
};

}  // namespace attnrt::test
