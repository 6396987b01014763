#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to a table: replays a small serving workload through the library.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  "") ;;
  -h | --help)
    echo "usage: scripts/demo.sh [--help]"
    echo "Installs what is missing, builds the release preset, runs attnrt-perf replay."
    exit 0
    ;;
  *)
    echo "demo: unknown option $1. Your own replay: build/release/attnrt-perf replay --help" >&2
    exit 2
    ;;
esac

scripts/setup.sh
cmake --preset release
cmake --build --preset release --target attnrt-perf
echo
build/release/attnrt-perf replay
