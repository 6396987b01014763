// SPDX-License-Identifier: Apache-2.0
// A small replay that tests of the engine loop, its check and its report share.
#pragma once

#include <doctest/doctest.h>

#include <sstream>
#include <stop_token>
#include <string_view>

#include "perf/host_device.hpp"
#include "perf/replay.hpp"

namespace attnrt::perf {

/// Few requests, odd lengths, pages that fill up: 6 requests in seconds on the reference backend.
struct ReplayFixture {
  explicit ReplayFixture(std::string_view backend = "cpu") {
    ContextOptions context_options;
    context_options.backend = backend;
    context_options.num_threads = 2;
    REQUIRE(Context::create(context_options, context).ok());
    trace = {
        "made", "azure", {{0, 37, 5}, {0, 1, 9}, {0, 64, 1}, {0, 20, 0}, {0, 5, 6}, {0, 33, 2}}};
    ShapeNumbers shape;
    shape.heads = "4/2";
    shape.head_dim = 32;
    options.model = custom_model(shape);
    options.scheduling.page_size = 8;
    options.scheduling.num_pages = 14;
    options.scheduling.chunk = 24;
    options.scheduling.max_batch = 4;
  }

  ReplayResult run() {
    CommandIo io{out, err, stop.get_token()};
    return replay(trace, options, context, *device, io);
  }

  Context context;
  HostDevice host;
  MeasuredDevice* device = &host;
  Trace trace;
  ReplayOptions options;
  std::ostringstream out, err;
  std::stop_source stop;
};

}  // namespace attnrt::perf
