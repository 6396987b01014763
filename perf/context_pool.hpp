// SPDX-License-Identifier: Apache-2.0
// The contexts of a command's rows: one per number of threads and ISA.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "attnrt/attention.hpp"

namespace attnrt::perf {

class ContextPool {
 public:
  explicit ContextPool(std::string backend) : backend_(std::move(backend)) {}

  /// Made by the first call, kept for the next ones. Errors: those of Context::create.
  Status get(int64_t threads, const std::string& isa, Context*& context);

 private:
  std::string backend_;
  std::map<std::pair<int64_t, std::string>, Context> contexts_;
};

}  // namespace attnrt::perf
