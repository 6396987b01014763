#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What to run before a commit, in order of cost; stops at the first step that fails.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'USAGE'
usage: scripts/check.sh [quick]
quick: format, tidy, GCC build without warnings, tests.
Without it, also: Clang build and tests, clang-tidy, asan, tsan, cpu-only, 64-bit ARM emulated.
Needs what scripts/setup.sh installs, and python3, clang, clang-format, clang-tidy.
USAGE
}

mode=${1:-full}
case "$mode" in
  quick | full) ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

current=""
trap '[[ $? == 0 ]] || echo "check: FAILED at step: $current" >&2' EXIT

step() {
  current=$1
  shift
  printf '\ncheck: %s\n' "$current"
  "$@"
}

# The newest of a tool that Debian also ships with a version in its name.
newest() {
  local tool
  for tool in "$1-20" "$1-19" "$1-18" "$1-17" "$1-16" "$1"; do
    command -v "$tool" && return
  done
  echo "check: $1 is not installed" >&2
  return 1
}

format() { git ls-files '*.cpp' '*.hpp' | xargs clang-format --dry-run -Werror; }

# Build and test with another compiler than the preset's default, warnings being errors.
compiler() {
  local dir=build/check-$1
  cmake --preset release -B "$dir" -DCMAKE_CXX_COMPILER="$2" -DATTNRT_WERROR=ON >/dev/null
  cmake --build "$dir"
  ctest --test-dir "$dir" --output-on-failure --no-tests=error
}

clang_tidy() {
  cmake --preset dev >/dev/null
  git ls-files 'src/*.cpp' 'backends/*.cpp' 'perf/*.cpp' 'examples/*.cpp' |
    xargs -P "$(nproc)" -n 4 "$1" -p build/dev --quiet --warnings-as-errors='*'
}

step "format" format
step "tidy" scripts/tidy.py
step "GCC, no warnings, tests" compiler gcc "${GCC:-g++}"
[[ $mode == quick ]] && exit

step "Clang, no warnings, tests" compiler clang "$(newest clang++)"
step "clang-tidy" clang_tidy "$(newest clang-tidy)"
step "asan" cmake --workflow --preset asan
step "tsan" cmake --workflow --preset tsan
step "cpu-only" cmake --workflow --preset cpu-only
step "64-bit ARM, emulated" scripts/test_aarch64.sh
printf '\ncheck: all steps passed\n'
