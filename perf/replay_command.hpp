// SPDX-License-Identifier: Apache-2.0
// The subcommand `replay`: serving traffic through an engine loop over a paged cache.
#pragma once

#include "perf/cli.hpp"

namespace CLI {
class App;
}

namespace attnrt::perf {

/// Adds the subcommand and its options to `app`; `run` is what it does once parsed.
CLI::App* add_replay_command(CLI::App& app, CommandRun& run);

}  // namespace attnrt::perf
