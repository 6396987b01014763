// SPDX-License-Identifier: Apache-2.0
// What make_plan refuses: specs, lengths and block tables.
#include <algorithm>
#include <cmath>
#include <limits>

#include "src/resolve.hpp"
#include "src/validate.hpp"
#include "src/validate_tables.hpp"

namespace attnrt {
namespace {

constexpr int64_t kMaxLength = std::numeric_limits<int32_t>::max();

Status check_positive(std::string_view name, int32_t value) {
  if (value > 0) return {};
  return refuse(name, " is ", value, ", must be positive");
}

Status check_spec(const AttentionSpec& spec) {
  if (Status s = check_positive("num_heads_q", spec.num_heads_q); !s.ok()) return s;
  if (Status s = check_positive("num_heads_kv", spec.num_heads_kv); !s.ok()) return s;
  if (spec.num_heads_q % spec.num_heads_kv != 0) {
    return refuse("num_heads_q is ", spec.num_heads_q, ", must be a multiple of ",
                  spec.num_heads_kv, " (num_heads_kv)");
  }
  if (Status s = check_positive("head_dim", spec.head_dim); !s.ok()) return s;
  if (spec.head_dim_v < 0) {
    return refuse("head_dim_v is ", spec.head_dim_v, ", must not be negative");
  }
  if (spec.num_branches < 1 || spec.num_branches > kMaxBranches) {
    return refuse("num_branches is ", spec.num_branches, ", must be 1..", kMaxBranches);
  }
  if (spec.softmax_scale && !std::isfinite(*spec.softmax_scale)) {
    return refuse("softmax_scale is ", *spec.softmax_scale, ", must be finite");
  }
  if (spec.window_left < -1) {
    return refuse("window_left is ", spec.window_left, ", must be -1 (all) or more");
  }
  if (spec.window_right < -1) {
    return refuse("window_right is ", spec.window_right, ", must be -1 (all) or more");
  }
  if (spec.normalizer == Normalizer::kPointwise && spec.has_sinks) {
    return refuse("has_sinks is set, a pointwise normalizer has no sum for them");
  }
  if (!std::isfinite(spec.softcap) || spec.softcap < 0.0f) {
    return refuse("softcap is ", spec.softcap, ", must be finite and not negative");
  }
  return {};
}

// Sizes of the lists, and that K and V are either packed or paged.
Status check_lists(const SequenceBatch& batch, int64_t size) {
  const BlockTable& table = batch.block_table;
  if (table.paged()) {
    if (!batch.cu_seqlens_k.empty()) {
      return refuse("cu_seqlens_k and block_table are both given, K is either packed or paged");
    }
    if (Status s = check_block_table(table, size); !s.ok()) return s;
    if (batch.seqused_k.empty() && size > 0) {
      if (!table.is_csr()) return refuse("seqused_k is empty, a dense block_table needs it");
      if (table.last_page_len.empty()) {
        return refuse(
            "seqused_k and block_table.last_page_len are both empty, one must say how "
            "many keys the last pages hold");
      }
    }
  } else {
    if (!table.pages.empty() || table.is_csr()) {
      return refuse("block_table.page_size is 0, must be positive: the table has ",
                    table.pages.size(), " pages");
    }
    if (batch.cu_seqlens_k.empty()) {
      return refuse("cu_seqlens_k and block_table are both empty, one must say where the keys are");
    }
    if (Status s = check_prefix_sums({"cu_seqlens_k"}, batch.cu_seqlens_k, size + 1); !s.ok()) {
      return s;
    }
  }
  if (!batch.seqused_k.empty()) {
    if (Status s = check_entries({"seqused_k"}, batch.seqused_k.size(), size); !s.ok()) return s;
  }
  if (!batch.q_start.empty()) {
    if (Status s = check_entries({"q_start"}, batch.q_start.size(), size); !s.ok()) return s;
  }
  if (batch.leftpad_k.empty()) return {};
  return check_entries({"leftpad_k"}, batch.leftpad_k.size(), size);
}

Status check_length(const SequenceBatch& batch, int64_t b) {
  const auto i = static_cast<size_t>(b);
  const BlockTable& table = batch.block_table;
  const int64_t used = used_slots(batch, b);
  if (used < 0) return refuse("seqused_k[", b, "] is ", used, ", must not be negative");
  if (used > kMaxLength) {
    return refuse("block_table.indptr gives sequence ", b, " ", used, " keys, at most ", kMaxLength,
                  " are possible");
  }
  if (!batch.seqused_k.empty()) {
    if (table.paged() && used > table_slots(table, b)) {
      return refuse("seqused_k[", b, "] is ", used, ", ", table_room(table, b));
    }
    if (!table.paged()) {
      const int64_t packed = int64_t{batch.cu_seqlens_k[i + 1]} - batch.cu_seqlens_k[i];
      if (used > packed) {
        return refuse("seqused_k[", b, "] is ", used, ", cu_seqlens_k gives the sequence ", packed,
                      " keys");
      }
    }
  }
  if (batch.leftpad_k.empty()) return {};
  const int32_t leftpad = batch.leftpad_k[i];
  if (leftpad < 0 || leftpad > used) {
    return refuse("leftpad_k[", b, "] is ", leftpad, ", must be 0..", used,
                  " (keys of the sequence)");
  }
  return {};
}

// Expressions know positions up to int32; the windows of the options know more.
Status check_positions(const SequenceBatch& batch, int64_t b) {
  const PlanSequence seq = resolve_sequence(batch, b);
  if (int64_t{seq.q_start} + seq.q_len <= kMaxLength) return {};
  return refuse("q_start[", b, "] is ", seq.q_start, ", with a mask its ", seq.q_len,
                " query tokens must end before ", kMaxLength);
}

// Pages [begin, end) of the row are those that hold valid keys; no other entry is read.
Status check_pages(const SequenceBatch& batch, int64_t b, PageBound& bound) {
  const int64_t used = used_slots(batch, b);
  const int64_t leftpad = batch.leftpad_k.empty() ? 0 : batch.leftpad_k[static_cast<size_t>(b)];
  if (leftpad == used) return {};
  const int64_t page_size = batch.block_table.page_size;
  const int64_t begin = leftpad / page_size;
  const int64_t end = (used - 1) / page_size + 1;
  const int32_t* row = page_row(batch.block_table, b);

  // Minimum and maximum first, which vectorises; where they stand is looked up only if needed.
  int32_t least = row[begin];
  int32_t most = row[begin];
  for (int64_t i = begin; i < end; ++i) {
    least = std::min(least, row[i]);
    most = std::max(most, row[i]);
  }
  if (least < 0) {
    const int64_t index = std::find(row + begin, row + end, least) - row;
    return refuse("block_table[", b, "][", index, "] is ", least, ", must not be negative");
  }
  if (most > bound.max_id) {
    bound.max_id = most;
    bound.seq = static_cast<int32_t>(b);
    bound.index = static_cast<int32_t>(std::find(row + begin, row + end, most) - row);
  }
  return {};
}

}  // namespace

Status validate_plan(const AttentionSpec& spec, const SequenceBatch& batch,
                     const PlanOptions& options, PageBound& bound) {
  bound = {};
  if (Status s = check_spec(spec); !s.ok()) return s;
  if (batch.cu_seqlens_q.empty()) {
    return refuse("cu_seqlens_q is empty, must have batch + 1 entries, the first 0");
  }
  const int64_t size = batch.batch_size();
  if (size > kMaxLength) {
    return refuse("cu_seqlens_q has ", size + 1, " entries, at most ", kMaxLength,
                  " sequences are possible");
  }
  if (Status s = check_prefix_sums({"cu_seqlens_q"}, batch.cu_seqlens_q, size + 1); !s.ok()) {
    return s;
  }
  if (Status s = check_lists(batch, size); !s.ok()) return s;
  for (int64_t b = 0; b < size; ++b) {
    if (Status s = check_length(batch, b); !s.ok()) return s;
    if (!spec.mask.valid()) continue;
    if (Status s = check_positions(batch, b); !s.ok()) return s;
  }
  if (options.validation == Validation::kTrusted || !batch.block_table.paged()) return {};
  for (int64_t b = 0; b < size; ++b) {
    if (Status s = check_pages(batch, b, bound); !s.ok()) return s;
  }
  return {};
}

}  // namespace attnrt
