#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building, testing and measuring needs and this machine lacks: Debian 12,
# Ubuntu 24.04, or later. Says what it installs; silent when nothing is missing.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: scripts/setup.sh [--help]
Installs the missing ones of: a C++20 compiler, CMake 3.25+, Ninja, oneTBB, xsimd, doctest, CLI11,
fmt, nlohmann-json; on x86-64 oneDNN, which the build can do without (ATTNRT_ONEDNN=OFF). Uses
apt-get, with sudo only when not root.
USAGE
}

case "${1:-}" in
  "") ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

die() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

# A compiler, CMake or Ninja from elsewhere (CXX, pip, a vendor) is as good as the package.
missing=()
command -v "${CXX:-c++}" >/dev/null || missing+=(g++)
command -v cmake >/dev/null || missing+=(cmake)
command -v ninja >/dev/null || missing+=(ninja-build)

libraries=(libtbb-dev libxsimd-dev doctest-dev libcli11-dev libfmt-dev nlohmann-json3-dev)
[[ $(uname -m) != x86_64 ]] || libraries+=(libdnnl-dev)
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
  for package in "${libraries[@]}"; do
    state=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
    [[ $state == installed ]] || missing+=("$package")
  done
else
  die "this is not Debian or Ubuntu (no apt-get)." \
    "Install a C++20 compiler (GCC 12+ or Clang 16+), CMake 3.25+, Ninja, oneTBB, xsimd 8.1+," \
    "doctest, CLI11, fmt and nlohmann-json, then: cmake --workflow --preset release"
fi

if ((${#missing[@]})); then
  as_root=(env)
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "sudo is missing; as root: apt-get install ${missing[*]}"
    as_root=(sudo env)
  fi
  echo "setup: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

have=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
if [[ $(printf '%s\n' 3.25 "$have" | sort -V | head -n 1) != 3.25 ]]; then
  die "CMake $have is too old: 3.25 or newer is needed (Debian 12, Ubuntu 24.04, pip)."
fi
