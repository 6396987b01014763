// SPDX-License-Identifier: Apache-2.0
// Continuous batching: which sequences run in a step, with how many query tokens, in which pages.
// Knows lengths only; no tensors.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "perf/page_allocator.hpp"
#include "perf/traces.hpp"

namespace attnrt::perf {

struct SchedulerOptions {
  int32_t page_size = 16;
  int32_t num_pages = 0;
  int32_t chunk = 512;      // prompt tokens in a step, over all sequences
  int32_t max_batch = 64;   // sequences that run at once
  double time_scale = 0.0;  // 0: all requests wait at the door from the start; else trace time runs
                            // this many times faster than the clock
};

/// One step, in the shapes that make_plan and append_kv take.
struct StepBatch {
  std::vector<int64_t> requests;       // [batch] index into the trace
  std::vector<int32_t> cu_seqlens_q;   // [batch + 1]
  std::vector<int32_t> cache_seqlens;  // [batch] keys before this step
  std::vector<int32_t> seqused_k;      // [batch] keys after it
  std::vector<int32_t> block_table;    // [batch, max_pages]
  int32_t max_pages = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;  // that this step produces

  [[nodiscard]] int64_t size() const noexcept { return static_cast<int64_t>(requests.size()); }
  [[nodiscard]] int32_t total_q() const noexcept { return cu_seqlens_q.back(); }
};

/// Tokens and keys of a step as they are, and with every sequence padded to the longest.
struct PaddedCost {
  int64_t tokens = 0;
  int64_t padded_tokens = 0;
  int64_t keys = 0;
  int64_t padded_keys = 0;
  int64_t pairs = 0;  // (token, key) pairs of a full rectangle per sequence
  int64_t padded_pairs = 0;
};
PaddedCost padded_cost(const StepBatch& step);

/// Keys that a request leaves in the cache: the last output token is never fed back.
constexpr int64_t total_keys(const Request& request) noexcept {
  const int64_t fed_back = request.output_tokens > 0 ? request.output_tokens - 1 : 0;
  return request.prompt_tokens + fed_back;
}

/// Requests are admitted in the order of the trace, when they have arrived, a place in the batch is
/// free and the cache can hold them to their last token. Pages are taken as they are needed, but
/// a request is only let in if its whole need is there, so nothing ever has to be preempted and
/// the loop cannot deadlock. In a step every sequence whose prompt is done gets one token; prompts
/// share `chunk` tokens in order of admission.
class Scheduler {
 public:
  /// Throws BadInput if a request could never fit in the cache.
  Scheduler(std::span<const Request> requests, const SchedulerOptions& options);

  [[nodiscard]] bool done() const noexcept { return running_.empty() && next_ == requests_.size(); }

  /// Forms the next step; if nobody runs, the clock first jumps to the next arrival. Not when done.
  void begin_step(StepBatch& step);

  /// Books what begin_step formed: the clock moves by `seconds`, finished sequences free pages.
  void end_step(const StepBatch& step, double seconds);

  /// Gives back the pages of all running sequences: an interrupted run ends clean, too.
  void release_all();

  [[nodiscard]] int64_t admitted() const noexcept { return static_cast<int64_t>(next_); }
  [[nodiscard]] int64_t finished() const noexcept { return finished_; }
  [[nodiscard]] double now_seconds() const noexcept { return now_; }
  [[nodiscard]] const PageAllocator& pages() const noexcept { return pages_; }

 private:
  struct Sequence {
    size_t request = 0;
    int32_t keys = 0;  // in the cache
    std::vector<int32_t> pages;
  };

  void admit();
  void take_pages(Sequence& sequence, int64_t keys);
  void add_to_step(Sequence& sequence, int32_t tokens, StepBatch& step);
  void fill_block_table(StepBatch& step) const;
  [[nodiscard]] int64_t pages_needed(size_t request) const noexcept {
    return pages_for(total_keys(requests_[request]), options_.page_size);
  }
  [[nodiscard]] double arrival(size_t request) const noexcept;

  std::span<const Request> requests_;
  SchedulerOptions options_;
  PageAllocator pages_;
  std::vector<Sequence> running_;  // in order of admission
  std::vector<size_t> in_step_;    // indices into running_
  size_t next_ = 0;                // first request that waits
  int64_t reserved_pages_ = 0;     // whole needs of all that run
  int64_t finished_ = 0;
  double now_ = 0.0;
};

}  // namespace attnrt::perf
