// SPDX-License-Identifier: Apache-2.0
// Admission, chunking and pages of the replayer's engine loop.
#include "perf/scheduler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "perf/cli.hpp"

namespace attnrt::perf {

PaddedCost padded_cost(const StepBatch& step) {
  PaddedCost cost;
  int64_t longest_q = 0;
  int64_t longest_kv = 0;
  for (size_t b = 0; b < step.requests.size(); ++b) {
    const int64_t q = step.cu_seqlens_q[b + 1] - step.cu_seqlens_q[b];
    const int64_t kv = step.seqused_k[b];
    cost.tokens += q;
    cost.keys += kv;
    cost.pairs += q * kv;
    longest_q = std::max(longest_q, q);
    longest_kv = std::max(longest_kv, kv);
  }
  cost.padded_tokens = step.size() * longest_q;
  cost.padded_keys = step.size() * longest_kv;
  cost.padded_pairs = cost.padded_tokens * longest_kv;
  return cost;
}

Scheduler::Scheduler(std::span<const Request> requests, const SchedulerOptions& options)
    : requests_(requests), options_(options), pages_(options.num_pages) {
  for (size_t i = 0; i < requests.size(); ++i) {
    if (pages_needed(i) <= options.num_pages) continue;
    throw BadInput(fmt::format(
        "request {} of the trace ({} prompt and {} output tokens) needs {} pages, the cache has "
        "{}: raise --kv-gib or --kv-pages",
        i + 1, requests[i].prompt_tokens, requests[i].output_tokens, pages_needed(i),
        options.num_pages));
  }
}

double Scheduler::arrival(size_t request) const noexcept {
  if (options_.time_scale <= 0.0) return 0.0;
  return requests_[request].arrival_seconds / options_.time_scale;
}

void Scheduler::admit() {
  if (running_.empty() && next_ < requests_.size()) now_ = std::max(now_, arrival(next_));
  while (next_ < requests_.size() && std::ssize(running_) < options_.max_batch &&
         arrival(next_) <= now_ && reserved_pages_ + pages_needed(next_) <= options_.num_pages) {
    reserved_pages_ += pages_needed(next_);
    running_.push_back({next_, 0, {}});
    ++next_;
  }
}

void Scheduler::take_pages(Sequence& sequence, int64_t keys) {
  const int64_t needed = pages_for(keys, options_.page_size);
  while (std::ssize(sequence.pages) < needed) {
    const int32_t page = pages_.allocate();
    assert(page >= 0 && "admission reserves the whole need");
    sequence.pages.push_back(page);
  }
}

void Scheduler::add_to_step(Sequence& sequence, int32_t tokens, StepBatch& step) {
  const Request& request = requests_[sequence.request];
  const int32_t keys = sequence.keys + tokens;
  take_pages(sequence, keys);
  step.requests.push_back(static_cast<int64_t>(sequence.request));
  step.cu_seqlens_q.push_back(step.total_q() + tokens);
  step.cache_seqlens.push_back(sequence.keys);
  step.seqused_k.push_back(keys);
  if (sequence.keys < request.prompt_tokens) step.prompt_tokens += tokens;
  // The step that sees the last prompt token produces the first output token.
  if (keys >= request.prompt_tokens && request.output_tokens > 0) ++step.output_tokens;
}

void Scheduler::fill_block_table(StepBatch& step) const {
  size_t columns = 0;
  for (const size_t index : in_step_) columns = std::max(columns, running_[index].pages.size());
  step.max_pages = static_cast<int32_t>(columns);
  // -1 past the pages of a sequence: reading one of these would be noticed.
  step.block_table.assign(in_step_.size() * columns, -1);
  for (size_t b = 0; b < in_step_.size(); ++b) {
    const std::vector<int32_t>& pages = running_[in_step_[b]].pages;
    std::copy(pages.begin(), pages.end(),
              step.block_table.begin() + static_cast<std::ptrdiff_t>(b * columns));
  }
}

void Scheduler::begin_step(StepBatch& step) {
  assert(!done());
  admit();
  step.requests.clear();
  step.cu_seqlens_q.assign(1, 0);
  step.cache_seqlens.clear();
  step.seqused_k.clear();
  step.prompt_tokens = 0;
  step.output_tokens = 0;
  in_step_.clear();
  int32_t budget = options_.chunk;
  for (size_t i = 0; i < running_.size(); ++i) {
    const int32_t prompt = requests_[running_[i].request].prompt_tokens;
    const bool decoding = running_[i].keys >= prompt;
    const int32_t tokens = decoding ? 1 : std::min(budget, prompt - running_[i].keys);
    if (tokens == 0) continue;
    if (!decoding) budget -= tokens;
    add_to_step(running_[i], tokens, step);
    in_step_.push_back(i);
  }
  fill_block_table(step);
}

void Scheduler::end_step(const StepBatch& step, double seconds) {
  now_ += seconds;
  for (size_t b = 0; b < in_step_.size(); ++b) running_[in_step_[b]].keys = step.seqused_k[b];
  std::erase_if(running_, [this](const Sequence& sequence) {
    if (sequence.keys < total_keys(requests_[sequence.request])) return false;
    pages_.release(sequence.pages);
    reserved_pages_ -= pages_needed(sequence.request);
    ++finished_;
    return true;
  });
}

void Scheduler::release_all() {
  for (const Sequence& sequence : running_) {
    pages_.release(sequence.pages);
    reserved_pages_ -= pages_needed(sequence.request);
  }
  running_.clear();
}

}  // namespace attnrt::perf
