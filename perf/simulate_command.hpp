// SPDX-License-Identifier: Apache-2.0
// The subcommand `simulate`: plans of trace batches on threads that this machine need not have.
#pragma once

#include "perf/cli.hpp"

namespace CLI {
class App;
}

namespace attnrt::perf {

/// Adds the subcommand and its options to `app`; `run` is what it does once parsed.
CLI::App* add_simulate_command(CLI::App& app, CommandRun& run);

}  // namespace attnrt::perf
