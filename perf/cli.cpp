// SPDX-License-Identifier: Apache-2.0
// Parses the command line, runs the chosen subcommand and turns failures into exit codes.
#include "perf/cli.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <new>
#include <string>

#include "attnrt/runtime.hpp"
#include "perf/lines_command.hpp"
#include "perf/replay_command.hpp"
#include "perf/simulate_command.hpp"
#include "perf/sweep_command.hpp"
#include "perf/tune_command.hpp"

namespace attnrt::perf {
namespace {

constexpr const char* kDescription =
    "Measures libattnrt: replay runs real serving traffic through it, sweep measures single calls, "
    "lines measures the calls that its CPU kernels are held to, simulate balances plans over "
    "threads that this machine need not have, tune compares the kernels that this machine can run.";

constexpr const char* kExitCodes =
    "Exit codes: 0 done; 1 a check or the library failed; 2 bad input; 130 Ctrl-C, after what was\n"
    "measured has been printed.";

int report_bad_input(CommandIo& io, std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  io.err << "attnrt-perf: " << message << '\n';
  return kExitBadInput;
}

/// A word that is there but empty, as a script's unset variable leaves it, must not mean the
/// default.
void refuse_empty_words(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& word : option->results()) {
      if (word.empty()) throw BadInput(option->get_name() + " is empty");
    }
  }
}

int run_parsed(const CLI::App& app, CommandIo& io,
               std::initializer_list<std::pair<CLI::App*, CommandRun*>> commands) {
  for (const auto& [command, run] : commands) {
    if (!app.got_subcommand(command)) continue;
    refuse_empty_words(*command);
    return (*run)(io);
  }
  return report_bad_input(io, "a subcommand is required: replay, sweep, lines, simulate or tune");
}

}  // namespace

int run_main(int argc, const char* const* argv, CommandIo& io) {
  CLI::App app{kDescription, "attnrt-perf"};
  try {
    app.footer(kExitCodes);
    app.set_version_flag("--version", "attnrt-perf " + std::string(Runtime::version()));
    // None is reported by run_parsed: asking here would hide which word was not understood.
    app.require_subcommand(0, 1);
    CommandRun replay, sweep, lines, simulate, tune;
    CLI::App* replay_app = add_replay_command(app, replay);
    CLI::App* sweep_app = add_sweep_command(app, sweep);
    CLI::App* lines_app = add_lines_command(app, lines);
    CLI::App* simulate_app = add_simulate_command(app, simulate);
    CLI::App* tune_app = add_tune_command(app, tune);
    app.parse(argc, argv);
    return run_parsed(app, io,
                      {{replay_app, &replay},
                       {sweep_app, &sweep},
                       {lines_app, &lines},
                       {simulate_app, &simulate},
                       {tune_app, &tune}});
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, io.out, io.err);
    return report_bad_input(io, error.what());
  } catch (const BadInput& error) {
    return report_bad_input(io, error.what());
  } catch (const std::bad_alloc&) {
    io.err << "attnrt-perf: out of memory\n";
    return kExitFailed;
  } catch (const std::exception& error) {
    io.err << "attnrt-perf: " << error.what() << '\n';
    return kExitFailed;
  }
}

}  // namespace attnrt::perf
