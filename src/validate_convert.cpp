// SPDX-License-Identifier: Apache-2.0
// What convert_kv refuses: caches that do not hold the same keys.
#include "src/validate_tensors.hpp"

namespace attnrt {
namespace {

Status check_paged(std::string_view name, const KvView& kv) {
  if (kv.layout != KvLayout::kPacked) return {};
  return refuse(name, ".layout is packed, must be nhd, hnd or packed16");
}

Status check_same(std::string_view field, int64_t from, int64_t to) {
  if (from == to) return {};
  return refuse("to", field, " is ", to, ", from", field, " is ", from);
}

}  // namespace

Status validate_convert(const KvView& from, const KvView& to) {
  if (Status s = check_paged("from", from); !s.ok()) return s;
  if (Status s = check_paged("to", to); !s.ok()) return s;
  if (Status s = check_kv_view("from", from, Access::kRead); !s.ok()) return s;
  if (Status s = check_kv_view("to", to, Access::kWrite); !s.ok()) return s;
  if (from.dtype != to.dtype) {
    return refuse("to.dtype is ", to_string(to.dtype), ", from.dtype is ", to_string(from.dtype));
  }
  if (Status s = check_same(".num_pages", from.num_pages, to.num_pages); !s.ok()) return s;
  if (Status s = check_same(".page_size", from.page_size, to.page_size); !s.ok()) return s;
  if (Status s = check_same(".num_heads_kv", from.num_heads_kv, to.num_heads_kv); !s.ok()) return s;
  if (Status s = check_same(".head_dim", from.head_dim, to.head_dim); !s.ok()) return s;
  if (Status s = check_same(".head_dim_v", from.head_dim_v, to.head_dim_v); !s.ok()) return s;
  if (from.v_is_k_prefix != to.v_is_k_prefix) {
    return refuse(from.v_is_k_prefix ? "from" : "to", ".v_is_k_prefix is set, ",
                  from.v_is_k_prefix ? "to" : "from", ".v_is_k_prefix is not");
  }
  if (Status s = check_same_device("to", to.device, "from", from.device); !s.ok()) return s;
  const std::array<NamedRange, 2> read = ranges_of("from", from);
  for (const NamedRange& written : ranges_of("to", to)) {
    if (Status s = check_apart(written, read); !s.ok()) return s;
  }
  if (!to.v_is_k_prefix && to.k == to.v && to.k != nullptr) {
    return refuse("to.v is to.k, which needs v_is_k_prefix");
  }
  return {};
}

}  // namespace attnrt
