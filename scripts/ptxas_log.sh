#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiler launcher for nvcc: keeps what ptxas -v says of each kernel beside the object file, for
# scripts/check_ptxas.py, and prints the rest.
set -uo pipefail

object=""
previous=""
for word in "$@"; do
  [ "$previous" = "-o" ] && object="$word"
  previous="$word"
done
log="$(mktemp)"
"$@" >"$log" 2>&1
code=$?
if [ -n "$object" ]; then grep -A1 -E "^ptxas info|spill" "$log" >"$object.ptxas" || true; fi
grep -vE "^ptxas info|bytes stack frame|^ *$" "$log"
rm -f "$log"
exit $code
