// SPDX-License-Identifier: Apache-2.0
// The subcommand `lines`: the calls that the CPU kernels are held to, each with its line.
#pragma once

#include "perf/cli.hpp"

namespace CLI {
class App;
}

namespace attnrt::perf {

/// Adds the subcommand and its options to `app`; `run` is what it does once parsed.
CLI::App* add_lines_command(CLI::App& app, CommandRun& run);

}  // namespace attnrt::perf
