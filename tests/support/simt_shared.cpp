// SPDX-License-Identifier: Apache-2.0
#include "tests/support/simt_shared.hpp"

#include <algorithm>
#include <cstring>

namespace attnrt::test {
namespace {

constexpr uint16_t kManyWarps = 0xffff;
constexpr std::byte kPoison{0xff};  // NaN in all formats

std::string at(uint32_t address) { return "shared address " + std::to_string(address); }

}  // namespace

void SimtShared::reset(size_t bytes, uint32_t moment) {
  if (bytes_.size() != bytes) {
    bytes_.resize(bytes);
    words_.assign((bytes + 3) / 4, Word{});
  }
  std::fill(bytes_.begin(), bytes_.end(), kPoison);
  first_moment_ = moment;  // whatever words_ knows is older
  for (Word& word : words_) word.copies = 0;
}

std::string SimtShared::check_range(const char* what, uint32_t address, uint32_t bytes) const {
  if (size_t{address} + bytes > bytes_.size()) {
    return std::string(what) + " of " + std::to_string(bytes) + " bytes at " + at(address) +
           ", the block has " + std::to_string(bytes_.size());
  }
  if (address % bytes != 0) {
    return std::string(what) + " of " + std::to_string(bytes) + " bytes at " + at(address) +
           " is not aligned";
  }
  return {};
}

std::string SimtShared::check_written(const Word& word, uint32_t address, SimtMoment now) const {
  if (word.copies > 0) return at(address) + " is read before cp.async was waited for";
  if (word.written_block < first_moment_) return at(address) + " is read, nobody wrote it";
  if (word.writer == now.thread || word.written_block < now.block) return {};
  const bool same_warp = word.writer / 32 == now.thread / 32;
  if (same_warp && word.written_warp < now.warp) return {};
  return at(address) + " is read, thread " + std::to_string(word.writer) +
         " wrote it with no barrier in between";
}

std::string SimtShared::check_overwritten(uint32_t address, uint32_t bytes, SimtMoment now) const {
  for (uint32_t w = address / 4; w < (address + bytes + 3) / 4; ++w) {
    const Word& word = words_[w];
    if (word.copies > 0) return at(w * 4) + " is written while cp.async writes it";
    const bool this_epoch = word.read_block == now.block && word.read_block >= first_moment_;
    if (this_epoch && word.reader_warp != now.thread / 32) {
      return at(w * 4) + " is written, another warp read it with no barrier in between";
    }
  }
  return {};
}

std::string SimtShared::read(uint32_t address, void* value, uint32_t bytes, SimtMoment now) {
  if (std::string s = check_range("a read", address, bytes); !s.empty()) return s;
  for (uint32_t w = address / 4; w < (address + bytes + 3) / 4; ++w) {
    Word& word = words_[w];
    if (std::string s = check_written(word, w * 4, now); !s.empty()) return s;
    const auto warp = static_cast<uint16_t>(now.thread / 32);
    const bool others = word.read_block == now.block && word.reader_warp != warp;
    word.read_block = now.block;
    word.reader_warp = others ? kManyWarps : warp;
  }
  std::memcpy(value, bytes_.data() + address, bytes);
  return {};
}

std::string SimtShared::write(uint32_t address, const void* value, uint32_t bytes, SimtMoment now) {
  if (std::string s = check_range("a write", address, bytes); !s.empty()) return s;
  if (std::string s = check_overwritten(address, bytes, now); !s.empty()) return s;
  for (uint32_t w = address / 4; w < (address + bytes + 3) / 4; ++w) {
    words_[w].written_block = now.block;
    words_[w].written_warp = now.warp;
    words_[w].writer = static_cast<uint16_t>(now.thread);
  }
  std::memcpy(bytes_.data() + address, value, bytes);
  return {};
}

std::string SimtShared::begin_copy(uint32_t address, SimtMoment now) {
  if (std::string s = check_range("cp.async", address, 16); !s.empty()) return s;
  if (std::string s = check_overwritten(address, 16, now); !s.empty()) return s;
  for (uint32_t w = address / 4; w < address / 4 + 4; ++w) ++words_[w].copies;
  std::memset(bytes_.data() + address, static_cast<int>(kPoison), 16);
  return {};
}

void SimtShared::end_copy(uint32_t address, const std::byte (&bytes)[16], SimtMoment now) {
  for (uint32_t w = address / 4; w < address / 4 + 4; ++w) {
    --words_[w].copies;
    words_[w].written_block = now.block;
    words_[w].written_warp = now.warp;
    words_[w].writer = static_cast<uint16_t>(now.thread);
  }
  std::memcpy(bytes_.data() + address, bytes, 16);
}

}  // namespace attnrt::test
