// SPDX-License-Identifier: Apache-2.0
// What the subcommands of attnrt-perf share: exit codes, streams, and how bad input is reported.
#pragma once

#include <functional>
#include <ostream>
#include <stdexcept>
#include <stop_token>

namespace attnrt::perf {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;         // a check beyond its bound, or the library failed
inline constexpr int kExitBadInput = 2;       // nothing to do with the library: fix the command
inline constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as shells report it

/// Ends a command with kExitBadInput. The message is one line and says what to change.
class BadInput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where a command writes, and how it hears of Ctrl-C: `stop` is then requested, and the command
/// ends soon, prints what it has measured and returns kExitInterrupted.
struct CommandIo {
  std::ostream& out;
  std::ostream& err;
  std::stop_token stop;
  bool show_progress = false;  // err is a terminal
};

/// What a subcommand does once its options are parsed. May throw BadInput.
using CommandRun = std::function<int(CommandIo& io)>;

/// All of attnrt-perf but the process around it. Prints one line to io.err and returns
/// kExitBadInput for bad options; never throws.
int run_main(int argc, const char* const* argv, CommandIo& io);

}  // namespace attnrt::perf
