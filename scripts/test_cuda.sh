#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles and links the CUDA backend, looks at its registers and spills, and loads it: needs nvcc,
# but no GPU and no driver. Where there is no nvcc it says so and succeeds. Arguments go to CMake.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
  echo "usage: scripts/test_cuda.sh [CMAKE-OPTION..]"
  exit 0
fi
if ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ] && [ -z "${CUDACXX:-}" ]; then
  echo "test_cuda: skipped: nvcc is neither in PATH nor in /usr/local/cuda/bin"
  exit 0
fi
scripts/setup.sh
cmake --preset cuda -DATTNRT_WERROR=ON "$@"
cmake --build --preset cuda --target attnrt_cuda attnrt_cuda_library_tests
ctest --test-dir build/cuda --output-on-failure --no-tests=error \
  -R '^(scripts/check_ptxas|backends/cuda/device/library)$'
