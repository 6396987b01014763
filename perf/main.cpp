// SPDX-License-Identifier: Apache-2.0
// The process around attnrt-perf: turns SIGINT and SIGTERM into a stop request.
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <iostream>
#include <stop_token>
#include <thread>
#include <utility>

#include "perf/cli.hpp"

namespace {

/// Takes the signals on a thread of its own, because nothing that a stop request does is safe in
/// a signal handler. The first one asks the command to end; the second one ends the process.
class SignalThread {
 public:
  explicit SignalThread(std::stop_source stop) : stop_(std::move(stop)) {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    // Blocked before any other thread starts, so that all threads inherit it.
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
    thread_ = std::jthread([this](std::stop_token end) { wait(end); });
  }

 private:
  void wait(const std::stop_token& end) {
    constexpr timespec kPoll{.tv_sec = 0, .tv_nsec = 50'000'000};
    while (!end.stop_requested()) {
      if (sigtimedwait(&signals_, nullptr, &kPoll) < 0) continue;
      if (!stop_.request_stop()) _exit(attnrt::perf::kExitInterrupted);
    }
  }

  sigset_t signals_{};
  std::stop_source stop_;
  std::jthread thread_;  // last, so that it ends first
};

}  // namespace

int main(int argc, char** argv) {
  static std::stop_source stop;
  const SignalThread signals(stop);
  attnrt::perf::CommandIo io{std::cout, std::cerr, stop.get_token(), isatty(STDERR_FILENO) == 1};
  return attnrt::perf::run_main(argc, argv, io);
}
