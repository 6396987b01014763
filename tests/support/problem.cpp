// SPDX-License-Identifier: Apache-2.0
#include "tests/support/problem.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "backends/reference/element.hpp"
#include "backends/reference/kv_element.hpp"

namespace attnrt::test {
namespace {

constexpr std::byte kPoison{0xff};  // NaN in all three formats
constexpr int32_t kStalePage = std::numeric_limits<int32_t>::max();

enum Stream : uint64_t {
  kStreamQ = 1,
  kStreamK,
  kStreamV,
  kStreamSlopes,
  kStreamSinks,
  kStreamGate,
  kStreamResidual,
  kStreamBranches
};

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

int32_t pages_for(int64_t slots, int32_t page_size) {
  return static_cast<int32_t>((slots + page_size - 1) / page_size);
}

// Writes a row of hashed values; (a, b) name the row within its stream.
struct RowFill {
  uint64_t seed;
  uint64_t stream;
  int64_t a;
  int64_t b;
  double scale;
};

// The value of column d.
double value_of(const RowFill& fill, int64_t d) {
  const uint64_t row = mix(mix(mix(fill.seed) ^ fill.stream) ^ static_cast<uint64_t>(fill.a)) ^
                       mix(static_cast<uint64_t>(fill.b));
  const uint64_t bits = mix(row + static_cast<uint64_t>(d)) >> 40;
  return fill.scale * (static_cast<double>(bits) * 0x1p-23 - 1.0);
}

void fill_row(const RowFill& fill, DType dtype, void* data, int64_t offset, int64_t dim) {
  for (int64_t d = 0; d < dim; ++d) reference::store(dtype, data, offset + d, value_of(fill, d));
}

int64_t padded(int64_t dim) { return (dim + 15) / 16 * 16; }

}  // namespace

double hashed(uint64_t seed, uint64_t stream, int64_t a, int64_t b) {
  return static_cast<float>(value_of({seed, stream, a, b, 1.0}, 0));
}

int64_t Problem::id_of(size_t seq) const {
  const int32_t id = shape_.sequences[seq].id;
  return id >= 0 ? id : static_cast<int64_t>(seq);
}

void Problem::place_sequences() {
  bool spare = false;
  for (const SequenceShape& s : shape_.sequences) {
    const int32_t q_start = s.q_start.value_or(s.kv_len - s.q_len);
    cu_seqlens_q_.push_back(cu_seqlens_q_.back() + s.q_len);
    cu_seqlens_k_.push_back(cu_seqlens_k_.back() + s.leftpad + s.kv_len + s.spare);
    seqused_k_.push_back(s.leftpad + s.kv_len);
    leftpad_k_.push_back(s.leftpad);
    q_start_.push_back(q_start);
    give_q_start_ = give_q_start_ || s.q_start.has_value();
    give_leftpad_ = give_leftpad_ || s.leftpad != 0;
    spare = spare || s.spare != 0;
    if (shape_.rotary != Rotary::kNone) max_position_ = std::max(max_position_, q_start + s.q_len);
  }
  const bool has_other_lengths = shape_.layout == KvLayout::kPacked || shape_.csr;
  give_seqused_ = spare || !has_other_lengths;
}

void Problem::place_pages() {
  const int32_t page_size = shape_.page_size;
  int32_t needed = 0;
  for (size_t b = 0; b < shape_.sequences.size(); ++b) {
    const SequenceShape& s = shape_.sequences[b];
    const int32_t count = pages_for(s.leftpad + s.kv_len + s.spare, page_size);
    const int32_t used = seqused_k_[b];
    needed += count;
    max_pages_ = std::max(max_pages_, count);
    indptr_.push_back(indptr_.back() + count);
    const int32_t last = used - (pages_for(used, page_size) - 1) * page_size;
    last_page_len_.push_back(count > 0 ? std::max(last, 1) : 0);
  }
  num_pages_ = needed + 2;
  std::vector<int32_t> free_pages(static_cast<size_t>(num_pages_));
  std::iota(free_pages.begin(), free_pages.end(), 0);
  std::shuffle(free_pages.begin(), free_pages.end(), std::mt19937_64(shape_.page_seed));
  if (shape_.csr) {
    pages.assign(free_pages.begin(), free_pages.begin() + needed);
    return;
  }
  max_pages_ += 1;  // a column that no sequence needs
  pages.assign(shape_.sequences.size() * static_cast<size_t>(max_pages_), kStalePage);
  auto next = free_pages.begin();
  for (size_t b = 0; b < shape_.sequences.size(); ++b) {
    // Pages of spare slots only are past the valid tail: their ids stay stale.
    const auto row = pages.begin() + static_cast<int64_t>(b) * max_pages_;
    const int32_t count = pages_for(seqused_k_[b], page_size);
    std::copy(next, next + count, row);
    next += count;
  }
}

void Problem::make_strides() {
  const int64_t pad = shape_.padded ? 3 : 0;
  const auto strides_for = [&](int64_t dim) {
    const int64_t heads = shape_.spec.num_heads_kv;
    KvStrides s;
    if (shape_.layout == KvLayout::kPacked16) {
      s.head = shape_.page_size * padded(dim) + 64 * pad;
      s.page = heads * s.head + 128 * pad;
    } else if (shape_.layout == KvLayout::kHND) {
      s.token = dim + pad;
      s.head = shape_.page_size * s.token + pad;
      s.page = heads * s.head + 2 * pad;
    } else {
      s.head = dim + pad;
      s.token = heads * s.head + pad;
      s.page = shape_.layout == KvLayout::kPacked ? 0 : shape_.page_size * s.token + 2 * pad;
    }
    return s;
  };
  k_strides_ = strides_for(shape_.spec.head_dim);
  v_strides_ = strides_for(dim_v_);
  if (shape_.layout == KvLayout::kPacked16 && !shape_.padded) {
    // Both in one page: its strides are those of K and V one after the other.
    k_strides_ = v_strides_ = strides_for(padded(shape_.spec.head_dim) + padded(dim_v_));
  }
  q_strides_[2] = 1;
  q_strides_[1] = shape_.spec.head_dim + pad;
  q_strides_[0] = shape_.spec.num_heads_q * q_strides_[1] + 2 * pad;
}

void Problem::fill_epilogue() {
  const int64_t heads = shape_.spec.num_heads_q;
  const auto bytes = static_cast<size_t>(total_q() * heads * dim_v_ * size_of(shape_.q_dtype));
  gate_.resize(bytes);
  residual_.resize(bytes);
  for (size_t b = 0; b < shape_.sequences.size(); ++b) {
    const SequenceShape& s = shape_.sequences[b];
    for (int64_t t = 0; t < s.q_len; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t place = ((first_row(b) + t) * heads + h) * dim_v_;
        const int64_t row = id_of(b) * 4096 + h;
        fill_row({shape_.seed, kStreamGate, row, s.first_token + t, 1.0}, shape_.q_dtype,
                 gate_.data(), place, dim_v_);
        fill_row({shape_.seed, kStreamResidual, row, s.first_token + t, 1.0}, shape_.q_dtype,
                 residual_.data(), place, dim_v_);
      }
    }
  }
}

void Problem::fill_q() {
  const auto element = static_cast<size_t>(size_of(shape_.q_dtype));
  q_.assign(static_cast<size_t>(total_q() * q_strides_[0]) * element, kPoison);
  for (size_t b = 0; b < shape_.sequences.size(); ++b) {
    const SequenceShape& s = shape_.sequences[b];
    for (int64_t t = 0; t < s.q_len; ++t) {
      for (int64_t h = 0; h < shape_.spec.num_heads_q; ++h) {
        // Three times as wide as K, so that scores of any head_dim have a spread of about 1.
        fill_row({shape_.seed, kStreamQ, id_of(b) * 4096 + h, s.first_token + t, 3.0},
                 shape_.q_dtype, q_.data(), (first_row(b) + t) * q_strides_[0] + h * q_strides_[1],
                 shape_.spec.head_dim);
      }
    }
  }
}

int64_t Problem::slot_of(size_t seq, int64_t key) const {
  const int64_t slot = shape_.sequences[seq].leftpad + key;
  if (shape_.layout == KvLayout::kPacked) return cu_seqlens_k_[seq] + slot;
  const int64_t first = shape_.csr ? indptr_[seq] : static_cast<int64_t>(seq) * max_pages_;
  const int64_t page = pages[static_cast<size_t>(first + slot / shape_.page_size)];
  return page * shape_.page_size + slot % shape_.page_size;
}

void Problem::fill_kv_row(bool is_v, size_t seq, int64_t key, int64_t head) {
  const SequenceShape& s = shape_.sequences[seq];
  const int64_t dim = is_v ? dim_v_ : shape_.spec.head_dim;
  const RowFill fill{shape_.seed, is_v ? kStreamV : kStreamK, id_of(seq) * 4096 + head,
                     s.first_key + key, 1.0};
  const KvView view = kv();
  const reference::KvRow row{is_v, slot_of(seq, key), head};
  if (shape_.layout != KvLayout::kPacked16) {
    fill_row(fill, view.dtype, is_v ? view.v : view.k, reference::kv_element(view, row, 0), dim);
    return;
  }
  for (int64_t d = 0; d < padded(dim); ++d) {
    reference::store_kv(view, row, d, d < dim ? value_of(fill, d) : 0.0);
  }
}

void Problem::fill_kv() {
  const auto element = static_cast<size_t>(size_of(shape_.kv_dtype));
  const bool packed = shape_.layout == KvLayout::kPacked;
  const bool packed16 = shape_.layout == KvLayout::kPacked16;
  const int64_t units = packed ? cu_seqlens_k_.back() : num_pages_;
  const auto size = [&](const KvStrides& s) {
    return static_cast<size_t>(units * (packed ? s.token : s.page)) * element;
  };
  k_.assign(size(k_strides_), kPoison);
  if (!shape_.mla && !(packed16 && !shape_.padded)) v_.assign(size(v_strides_), kPoison);
  for (size_t b = 0; b < shape_.sequences.size(); ++b) {
    for (int64_t key = 0; key < shape_.sequences[b].kv_len; ++key) {
      for (int64_t h = 0; h < shape_.spec.num_heads_kv; ++h) {
        fill_kv_row(false, b, key, h);
        if (!shape_.mla) fill_kv_row(true, b, key, h);
      }
    }
  }
}

void Problem::make_tables() {
  const int64_t heads = shape_.spec.num_heads_q;
  if (shape_.spec.has_alibi) {
    const size_t rows = shape_.alibi_per_seq ? shape_.sequences.size() : 1;
    for (size_t b = 0; b < rows; ++b) {
      const int64_t id = shape_.alibi_per_seq ? id_of(b) : 0;
      for (int64_t h = 0; h < heads; ++h) {
        alibi_slopes.push_back(
            static_cast<float>(0.25 + 0.2 * hashed(shape_.seed, kStreamSlopes, id, h)));
      }
    }
  }
  if (shape_.spec.has_sinks) {
    for (int64_t h = 0; h < heads; ++h) {
      sinks.push_back(static_cast<float>(2.0 * hashed(shape_.seed, kStreamSinks, 0, h)));
    }
  }
  if (shape_.rotary == Rotary::kNone) return;
  const int64_t half = shape_.spec.head_dim / 2;
  const auto bytes = static_cast<size_t>(max_position_ * half * size_of(shape_.q_dtype));
  cos_.resize(bytes);
  sin_.resize(bytes);
  for (int64_t position = 0; position < max_position_; ++position) {
    for (int64_t i = 0; i < half; ++i) {
      const double frequency = std::pow(100.0, -static_cast<double>(i) / static_cast<double>(half));
      const double angle = static_cast<double>(position) * frequency;
      reference::store(shape_.q_dtype, cos_.data(), position * half + i, std::cos(angle));
      reference::store(shape_.q_dtype, sin_.data(), position * half + i, std::sin(angle));
    }
  }
}

// The same problem with other values: its q and K stand as those of this one.
void Problem::make_branches() {
  const int32_t count = shape_.spec.num_branches;
  if (count == 1) return;
  for (int32_t i = 1; i < count; ++i) {
    ProblemShape other = shape_;
    other.spec.num_branches = 1;
    other.seed = mix(shape_.seed + static_cast<uint64_t>(i));
    others_.emplace_back(other);
  }
  for (const Problem& other : others_) branches_.push_back({other.q(), other.kv().k});
  for (int32_t i = 0; i < count * shape_.spec.num_heads_q; ++i) {
    branch_weights.push_back(static_cast<float>(hashed(shape_.seed, kStreamBranches, i, 0)));
  }
}

SequenceBatch Problem::batch() const {
  SequenceBatch batch;
  batch.cu_seqlens_q = cu_seqlens_q_;
  if (shape_.layout == KvLayout::kPacked) {
    batch.cu_seqlens_k = cu_seqlens_k_;
  } else if (shape_.csr) {
    batch.block_table = BlockTable::csr(indptr_, pages, last_page_len_, shape_.page_size);
  } else {
    batch.block_table = BlockTable::dense(pages, max_pages_, shape_.page_size);
  }
  if (give_seqused_) batch.seqused_k = seqused_k_;
  if (give_q_start_) batch.q_start = q_start_;
  if (give_leftpad_) batch.leftpad_k = leftpad_k_;
  batch.mask_values = shape_.mask_values;
  return batch;
}

KvView Problem::kv() const {
  KvView kv;
  kv.layout = shape_.layout;
  kv.dtype = shape_.kv_dtype;
  kv.k = k_.data();
  kv.v = shape_.mla ? nullptr : v_.data();
  if (shape_.layout == KvLayout::kPacked16 && !shape_.padded) {
    kv.v = k_.data() + shape_.page_size * padded(shape_.spec.head_dim) * size_of(shape_.kv_dtype);
  }
  const bool packed = shape_.layout == KvLayout::kPacked;
  kv.num_pages = packed ? 0 : num_pages_;
  kv.page_size = packed ? 0 : shape_.page_size;
  kv.num_tokens = packed ? cu_seqlens_k_.back() : int64_t{num_pages_} * shape_.page_size;
  kv.num_heads_kv = shape_.spec.num_heads_kv;
  kv.head_dim = shape_.spec.head_dim;
  kv.head_dim_v = dim_v_;
  kv.k_strides = k_strides_;
  if (!shape_.mla) kv.v_strides = v_strides_;
  kv.v_is_k_prefix = shape_.mla;
  return kv;
}

ConstTensorView Problem::q() const {
  return {q_.data(),
          shape_.q_dtype,
          Device::kCpu,
          {total_q(), shape_.spec.num_heads_q, shape_.spec.head_dim},
          q_strides_};
}

void Problem::set_q(size_t seq, int32_t token, int32_t head, int32_t d, double value) {
  const int64_t offset = (first_row(seq) + token) * q_strides_[0] + head * q_strides_[1] + d;
  reference::store(shape_.q_dtype, q_.data(), offset, value);
}

void Problem::set_k(size_t seq, int32_t key, int32_t kv_head, int32_t d, double value) {
  reference::store_kv(kv(), {false, slot_of(seq, key), kv_head}, d, value);
}

void Problem::set_v(size_t seq, int32_t key, int32_t kv_head, int32_t d, double value) {
  reference::store_kv(kv(), {true, slot_of(seq, key), kv_head}, d, value);
}

}  // namespace attnrt::test
