#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A kernel object exports its table and nothing else. Kernel files are compiled with different -m
# flags, so a weak symbol (an inline function that was not inlined) that one of them has in common
# with anything else would be one function for the linker, in instructions that a CPU may not have.
set -euo pipefail

if [[ $# -eq 0 || $1 == -h || $1 == --help ]]; then
  echo "usage: scripts/check_kernel_symbols.sh OBJECT.. (kernels/<isa>.cpp.o of a build)" >&2
  exit 2
fi

failed=0
for object in "$@"; do
  # Sanitizers' own symbols are no code of ours: __odr_asan.*, and constructors' comdat groups.
  symbols=$(nm --extern-only --defined-only --format=posix -C "$object" |
    grep -vE '^(__odr_asan|__asan|__ubsan|__tsan|__sanitizer|asan\.module)' || true)
  tables=$(grep -cE '^attnrt::cpu::k[A-Za-z0-9]+Kernels [DBRV]' <<<"$symbols" || true)
  others=$(grep -vE '^attnrt::cpu::k[A-Za-z0-9]+Kernels [DBR]' <<<"$symbols" | grep -v '^$' || true)
  if [[ $tables -ne 1 || -n $others ]]; then
    echo "check_kernel_symbols: $object has $tables tables (must be 1), and exports too:" >&2
    echo "${others:-nothing else}" >&2
    failed=1
  fi
done
[[ $failed -eq 0 ]] && echo "check_kernel_symbols: $# objects, one table each, nothing else"
exit "$failed"
