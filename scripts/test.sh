#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a fresh clone to a test report: configures, builds and tests one preset.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  -h | --help)
    echo "usage: scripts/test.sh [PRESET]"
    echo "Installs what is missing, then configures, builds and tests PRESET: release (default),"
    echo "dev, asan, tsan or cpu-only. The last lines are ctest's summary."
    exit 0
    ;;
esac

scripts/setup.sh
# One test after the other takes twice as long on two cores: 15 minutes under AddressSanitizer.
export CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$(nproc)}
cmake --workflow --preset "${1:-release}"
