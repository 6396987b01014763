#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What to run first on a machine with an NVIDIA GPU: builds the CUDA backend, runs its conformance
# suite, times the lines that it is held to, beside PyTorch where that is installed, replays traffic
# with checks, and lets compute-sanitizer look at a small part of the suite. A step that fails stops
# no other; which ones did is said at the end. The table goes to perf/results/.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'USAGE'
usage: scripts/gpu_check.sh [--built] [CMAKE-OPTION..]
--built: builds nothing, and runs what build/cuda holds (built elsewhere, nvcc is not needed here).
USAGE
}

built=false
case "${1:-}" in
  -h | --help) usage && exit 0 ;;
  --built) built=true && shift ;;
esac
if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L | grep -q GPU; then
  echo "gpu_check: no NVIDIA GPU here (nvidia-smi lists none)" >&2
  exit 1
fi
if ! $built; then
  if ! PATH="$PATH:/usr/local/cuda/bin" command -v "${CUDACXX:-nvcc}" >/dev/null; then
    echo "gpu_check: nvcc is neither in PATH nor in /usr/local/cuda/bin (--built needs none)" >&2
    exit 1
  fi
  scripts/test_cuda.sh "$@"
  cmake --build --preset cuda --target attnrt_cuda_tests attnrt_cuda_lines attnrt-perf
fi
export ATTNRT_CUDA_LIBRARY="$PWD/build/cuda/libattnrt_cuda.so"
if [ ! -f "$ATTNRT_CUDA_LIBRARY" ]; then
  echo "gpu_check: build/cuda/libattnrt_cuda.so is not there" >&2
  exit 1
fi
results=()

# step NAME SECONDS COMMAND..
step() {
  local name=$1 seconds=$2 code=0
  shift 2
  printf '\ngpu_check: %s\n' "$name"
  timeout "$seconds" "$@" || code=$?
  case $code in
    0) results+=("passed   $name") ;;
    77) results+=("SKIPPED  $name") ;;
    124) results+=("FAILED   $name: more than $seconds s") ;;
    *) results+=("FAILED   $name: exit code $code") ;;
  esac
}

lines() {
  local device table
  device="$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)"
  table="perf/results/lines-$(tr 'A-Z ' 'a-z-' <<<"$device")-$(date +%F).md"
  set -o pipefail
  scripts/gpu_lines.py build/cuda/libattnrt_cuda_lines.so --device "$device" \
    --commit "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" | tee "$table"
}
export -f lines

sanitizer="$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)"
step "conformance" 300 build/cuda/tests/attnrt_cuda_tests
step "lines" 240 bash -c lines
step "replay, checked" 120 build/cuda/attnrt-perf replay --backend cuda --check 64
for tool in memcheck racecheck synccheck; do
  if [ -x "$sanitizer" ]; then
    step "compute-sanitizer $tool" 120 "$sanitizer" --tool "$tool" --error-exitcode 1 \
      build/cuda/tests/attnrt_cuda_tests --test-case='captured*'
  else
    results+=("SKIPPED  compute-sanitizer $tool: it is not installed")
  fi
done

printf '\ngpu_check: summary\n'
printf '  %s\n' "${results[@]}"
! printf '%s\n' "${results[@]}" | grep -qE '^(FAILED|SKIPPED  (conformance|lines|replay))'
