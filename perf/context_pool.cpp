// SPDX-License-Identifier: Apache-2.0
// Makes contexts where they are first asked for.
#include "perf/context_pool.hpp"

namespace attnrt::perf {

Status ContextPool::get(int64_t threads, const std::string& isa, Context*& context) {
  const std::pair<int64_t, std::string> key(threads, isa);
  if (const auto found = contexts_.find(key); found != contexts_.end()) {
    context = &found->second;
    return {};
  }
  ContextOptions options;
  options.backend = backend_;
  options.isa = isa;
  options.num_threads = static_cast<int32_t>(threads);
  Context made;
  Status status = Context::create(options, made);
  if (status.ok()) context = &contexts_.emplace(key, std::move(made)).first->second;
  return status;
}

}  // namespace attnrt::perf
