// SPDX-License-Identifier: Apache-2.0
// The subcommand `tune`: which of the CPU's kernels is fastest here, by rows.
#pragma once

#include "perf/cli.hpp"

namespace CLI {
class App;
}

namespace attnrt::perf {

/// Adds the subcommand and its options to `app`; `run` is what it does once parsed.
CLI::App* add_tune_command(CLI::App& app, CommandRun& run);

}  // namespace attnrt::perf
