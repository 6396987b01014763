// SPDX-License-Identifier: Apache-2.0
// The process around attnrt-perf: turns SIGINT and SIGTERM into a stop request.
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <stop_token>
#include <thread>
#include <utility>

#include "perf/cli.hpp"

namespace {

/// Takes the signals on a thread of its own, because nothing that a stop request does is safe in
/// a signal handler. The first one asks the command to end; one that comes a second later
/// or more ends the process. (timeout(1) and shells send one signal to a process and to its group.)
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
      const auto now = std::chrono::steady_clock::now();
      if (stop_.request_stop()) first_ = now;
      if (now - first_ >= std::chrono::seconds(1)) _exit(attnrt::perf::kExitInterrupted);
    }
  }

  sigset_t signals_{};
  std::stop_source stop_;
  std::chrono::steady_clock::time_point first_;
  std::jthread thread_;  // last, so that it ends first
};

}  // namespace

int main(int argc, char** argv) {
  static std::stop_source stop;
  const SignalThread signals(stop);
  attnrt::perf::CommandIo io{std::cout, std::cerr, stop.get_token(), isatty(STDERR_FILENO) == 1};
  return attnrt::perf::run_main(argc, argv, io);
}
