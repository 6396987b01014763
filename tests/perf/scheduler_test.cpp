// SPDX-License-Identifier: Apache-2.0
// Continuous batching: who is in a step, what is conserved, and that it always ends.
#include "perf/scheduler.hpp"

#include <doctest/doctest.h>

#include <set>
#include <vector>

#include "perf/cli.hpp"
#include "perf/random.hpp"

namespace perf = attnrt::perf;
using perf::Request;
using perf::Scheduler;
using perf::SchedulerOptions;
using perf::StepBatch;

namespace {

SchedulerOptions small_options() {
  SchedulerOptions options;
  options.page_size = 4;
  options.num_pages = 100;
  options.chunk = 8;
  options.max_batch = 4;
  return options;
}

/// What the library would refuse: lengths that disagree, pages that are shared or missing.
void check_step(const StepBatch& step, const SchedulerOptions& options) {
  const auto batch = static_cast<size_t>(step.size());
  REQUIRE(batch >= 1);
  REQUIRE(step.size() <= options.max_batch);
  REQUIRE(step.cu_seqlens_q.size() == batch + 1);
  REQUIRE(step.block_table.size() == batch * static_cast<size_t>(step.max_pages));
  std::set<int32_t> pages;
  size_t held = 0;
  for (size_t b = 0; b < batch; ++b) {
    const int32_t q = step.cu_seqlens_q[b + 1] - step.cu_seqlens_q[b];
    REQUIRE(q >= 1);
    REQUIRE(step.seqused_k[b] == step.cache_seqlens[b] + q);
    const auto needed = static_cast<size_t>(perf::pages_for(step.seqused_k[b], options.page_size));
    for (size_t i = 0; i < static_cast<size_t>(step.max_pages); ++i) {
      const int32_t page = step.block_table[b * static_cast<size_t>(step.max_pages) + i];
      if (i >= needed) {
        REQUIRE(page == -1);
        continue;
      }
      REQUIRE(page >= 0);
      REQUIRE(page < options.num_pages);
      pages.insert(page);
      ++held;
    }
  }
  REQUIRE(pages.size() == held);
  REQUIRE(step.prompt_tokens <= options.chunk);
}

}  // namespace

TEST_CASE("a prompt in chunks, then one token a step, then its pages are free") {
  const std::vector<Request> requests{{0.0, 10, 3}};
  Scheduler scheduler(requests, small_options());
  StepBatch step;

  scheduler.begin_step(step);
  check_step(step, small_options());
  CHECK(step.cu_seqlens_q == std::vector<int32_t>{0, 8});
  CHECK(step.cache_seqlens == std::vector<int32_t>{0});
  CHECK(step.output_tokens == 0);
  CHECK(scheduler.pages().used() == 2);
  scheduler.end_step(step, 0.1);

  scheduler.begin_step(step);
  CHECK(step.cu_seqlens_q == std::vector<int32_t>{0, 2});
  CHECK(step.seqused_k == std::vector<int32_t>{10});
  CHECK(step.prompt_tokens == 2);
  CHECK(step.output_tokens == 1);
  scheduler.end_step(step, 0.1);

  for (const int32_t keys : {11, 12}) {
    CHECK_FALSE(scheduler.done());
    scheduler.begin_step(step);
    CHECK(step.seqused_k == std::vector<int32_t>{keys});
    CHECK(step.prompt_tokens == 0);
    CHECK(step.output_tokens == 1);
    scheduler.end_step(step, 0.1);
  }
  CHECK(scheduler.done());
  CHECK(scheduler.finished() == 1);
  CHECK(scheduler.pages().used() == 0);
  CHECK(scheduler.pages().peak() == 3);
  CHECK(scheduler.now_seconds() == doctest::Approx(0.4));
}

TEST_CASE("prompts share the chunk in order of admission, and do not hold up decoding") {
  const std::vector<Request> requests{{0.0, 4, 9}, {0.0, 20, 1}, {0.0, 5, 1}};
  Scheduler scheduler(requests, small_options());
  StepBatch step;
  scheduler.begin_step(step);
  CHECK(step.requests == std::vector<int64_t>{0, 1});
  CHECK(step.cu_seqlens_q == std::vector<int32_t>{0, 4, 8});
  scheduler.end_step(step, 0.0);
  scheduler.begin_step(step);
  CHECK(step.requests == std::vector<int64_t>{0, 1});
  CHECK(step.cu_seqlens_q == std::vector<int32_t>{0, 1, 9});
  CHECK(step.prompt_tokens == 8);
  CHECK(step.output_tokens == 1);
}

TEST_CASE("requests wait for their arrival, a place in the batch and pages") {
  SchedulerOptions options = small_options();
  options.time_scale = 10.0;
  const std::vector<Request> requests{{0.0, 1, 2}, {5.0, 1, 1}};
  Scheduler scheduler(requests, options);
  StepBatch step;
  scheduler.begin_step(step);
  CHECK(step.size() == 1);
  scheduler.end_step(step, 0.25);
  scheduler.begin_step(step);
  CHECK(step.size() == 1);  // at 0.25 s: the other arrives at 0.5 s
  scheduler.end_step(step, 0.125);
  scheduler.begin_step(step);  // nobody runs: the clock jumps
  CHECK(step.requests == std::vector<int64_t>{1});
  CHECK(scheduler.now_seconds() == doctest::Approx(0.5));

  options = small_options();
  options.num_pages = 3;
  const std::vector<Request> large{{0.0, 8, 1}, {0.0, 8, 1}, {0.0, 1, 1}};
  Scheduler tight(large, options);
  tight.begin_step(step);
  CHECK(step.requests == std::vector<int64_t>{0});  // the third would fit, but order is kept
}

TEST_CASE("a request that can never fit is refused before any work") {
  SchedulerOptions options = small_options();
  options.num_pages = 3;
  const std::vector<Request> requests{{0.0, 4, 1}, {0.0, 10, 4}};
  CHECK_THROWS_WITH_AS(Scheduler(requests, options),
                       "request 2 of the trace (10 prompt and 4 output tokens) needs 4 pages, the "
                       "cache has 3: raise --kv-gib or --kv-pages",
                       perf::BadInput);
}

TEST_CASE("no output token and one output token both end with the prompt") {
  CHECK(perf::total_keys({0.0, 7, 0}) == 7);
  CHECK(perf::total_keys({0.0, 7, 1}) == 7);
  CHECK(perf::total_keys({0.0, 7, 2}) == 8);
}

TEST_CASE("interrupted runs give all pages back") {
  const std::vector<Request> requests{{0.0, 20, 3}, {0.0, 20, 3}};
  Scheduler scheduler(requests, small_options());
  StepBatch step;
  scheduler.begin_step(step);
  CHECK(scheduler.pages().used() > 0);
  scheduler.release_all();
  CHECK(scheduler.pages().used() == 0);
  CHECK(scheduler.finished() == 0);
}

TEST_CASE("random traffic: everything finishes, every token is counted once") {
  perf::Random random(11);
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    SchedulerOptions options;
    options.page_size = 1 + static_cast<int32_t>(random.below(20));
    options.chunk = 1 + static_cast<int32_t>(random.below(64));
    options.max_batch = 1 + static_cast<int32_t>(random.below(8));
    options.time_scale = static_cast<double>(random.below(2));
    std::vector<Request> requests(1 + random.below(20));
    int64_t prompts = 0, outputs = 0, keys = 0, largest = 0;
    double now = 0.0;
    for (Request& request : requests) {
      request = {now, 1 + static_cast<int32_t>(random.below(100)),
                 static_cast<int32_t>(random.below(20))};
      now += static_cast<double>(random.below(3));
      prompts += request.prompt_tokens;
      outputs += request.output_tokens;
      keys += perf::total_keys(request);
      largest = std::max(largest, perf::pages_for(perf::total_keys(request), options.page_size));
    }
    options.num_pages = static_cast<int32_t>(largest + static_cast<int64_t>(random.below(50)));
    Scheduler scheduler(requests, options);
    StepBatch step;
    int64_t steps = 0;
    while (!scheduler.done()) {
      REQUIRE(++steps < 100000);
      scheduler.begin_step(step);
      check_step(step, options);
      prompts -= step.prompt_tokens;
      outputs -= step.output_tokens;
      keys -= step.total_q();
      scheduler.end_step(step, 0.5);
    }
    CHECK(prompts == 0);
    CHECK(outputs == 0);
    CHECK(keys == 0);
    CHECK(scheduler.finished() == static_cast<int64_t>(requests.size()));
    CHECK(scheduler.pages().used() == 0);
  }
}

TEST_CASE("what padding to the longest would cost") {
  StepBatch step;
  step.requests = {0, 1, 2};
  step.cu_seqlens_q = {0, 8, 9, 10};
  step.seqused_k = {8, 100, 50};
  const perf::PaddedCost cost = perf::padded_cost(step);
  CHECK(cost.tokens == 10);
  CHECK(cost.padded_tokens == 24);
  CHECK(cost.keys == 158);
  CHECK(cost.padded_keys == 300);
  CHECK(cost.pairs == 8 * 8 + 100 + 50);
  CHECK(cost.padded_pairs == 24 * 100);
}
