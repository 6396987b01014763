// SPDX-License-Identifier: Apache-2.0
// convert_kv: check, then hand over to the backend.
#include "src/context.hpp"
#include "src/validate.hpp"

namespace attnrt {

Status convert_kv(Context& context, const KvView& from, const KvView& to) {
  return guarded([&]() -> Status {
    if (Status status = ready(context); !status.ok()) return status;
    if (Status status = validate_convert(from, to); !status.ok()) return status;
    Context::Impl& impl = *context.impl();
    if (Status s = impl.backend->supports_memory("from", from.device); !s.ok()) return s;
    if (from.num_tokens == 0) return {};
    return impl.backend->convert(*impl.state, from, to);
  });
}

}  // namespace attnrt
