#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What to run first on a machine with an NVIDIA GPU: builds the CUDA backend, runs its conformance
# suite and a checked replay, compute-sanitizer on a small part of the suite where that is
# installed, and the lines that it is held to, beside PyTorch where that is installed. The table
# goes to perf/results/.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
  echo "usage: scripts/gpu_check.sh [CMAKE-OPTION..]"
  exit 0
fi
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L | grep -q GPU; then
  echo "gpu_check: no NVIDIA GPU here (nvidia-smi lists none)" >&2
  exit 1
fi
scripts/test_cuda.sh "$@"
cmake --build --preset cuda --target attnrt_cuda_tests attnrt_cuda_lines attnrt-perf
export ATTNRT_CUDA_LIBRARY="$PWD/build/cuda/libattnrt_cuda.so"
build/cuda/tests/attnrt_cuda_tests
build/cuda/attnrt-perf replay --backend cuda --check 64
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 \
      build/cuda/tests/attnrt_cuda_tests --test-case='captured*'
  done
else
  echo "gpu_check: compute-sanitizer is not installed, its part is left out"
fi
device="$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1 | tr 'A-Z ' 'a-z-')"
table="perf/results/lines-$device-$(date +%F).md"
scripts/gpu_lines.py build/cuda/libattnrt_cuda_lines.so \
  --commit "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" | tee "$table"
