#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Cross-compiles everything for 64-bit ARM and runs the tests that depend on the architecture under
# qemu's user-mode emulation. It shows that results are right there; of speed it says nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'USAGE'
usage: scripts/test_aarch64.sh [quick]
Installs what is missing of a cross compiler and qemu's user-mode emulation, unpacks the arm64
packages of the libraries into build/sysroot-aarch64 (nothing of them is installed), then
configures, builds and tests the preset aarch64. Needs Debian 12 or later on another architecture.
quick: only the library and attnrt-perf, whose replays are compared with the reference. For CI:
skipped, and said so, where there is nothing to cross-compile with.
USAGE
}

mode=${1:-full}
case "$mode" in
  full | quick) ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

die() {
  printf 'test_aarch64: %s\n' "$@" >&2
  exit 1
}

# What is missing here is no fault of the sources.
missing() {
  [[ $mode == quick ]] || die "$1"
  echo "test_aarch64: skipped: $1"
  exit 0
}

[[ $(uname -m) != aarch64 ]] || missing "this machine is 64-bit ARM: scripts/test.sh tests it"
scripts/setup.sh

tools=()
command -v aarch64-linux-gnu-g++ >/dev/null || tools+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64-static >/dev/null || tools+=(qemu-user-static)
if ((${#tools[@]})); then
  as_root=(env)
  if ((EUID != 0)); then
    command -v sudo >/dev/null || missing "sudo is missing; as root: apt-get install ${tools[*]}"
    as_root=(sudo env)
  fi
  echo "test_aarch64: installing ${tools[*]}"
  { "${as_root[@]}" apt-get update -qq && "${as_root[@]}" DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${tools[@]}" >/dev/null; } ||
    missing "apt-get has no ${tools[*]}"
fi

# An apt of its own: lists, cache and an empty list of installed packages in a folder, so that the
# machine is asked nothing and changed in nothing. What the libraries need comes with them.
libraries=(libtbb-dev libxsimd-dev doctest-dev libcli11-dev libfmt-dev nlohmann-json3-dev)
sysroot=build/sysroot-aarch64
if [[ $(cat "$sysroot/packages" 2>/dev/null) != "${libraries[*]}" ]]; then
  echo "test_aarch64: unpacking ${libraries[*]} for arm64 into $sysroot"
  apt=$(mktemp -d)
  trap 'rm -rf "$apt"' EXIT
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  touch "$apt/status"
  cat >"$apt/apt.conf" <<CONF
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Sandbox::User "";
Dir::State::lists "$apt/lists";
Dir::State::status "$apt/status";
Dir::Cache "$apt/cache";
CONF
  export APT_CONFIG=$apt/apt.conf
  { apt-get update -qq && apt-get install -y -qq --download-only --no-install-recommends \
    "${libraries[@]}" >/dev/null; } ||
    missing "no arm64 in the package sources of this machine (Debian has it, Ubuntu has not)"
  rm -rf "$sysroot"
  mkdir -p "$sysroot"
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb --extract "$package" "$sysroot"; done
  echo "${libraries[*]}" >"$sysroot/packages"
  unset APT_CONFIG
fi

ready=$SECONDS
if [[ $mode == quick ]]; then
  cmake --preset aarch64
  cmake --build --preset aarch64 --target attnrt-perf
  for options in "--dtype bf16" "--dtype f16 --heads 7/1 --head-dim 80 --sinks" \
    "--dtype f32 --heads 4/4 --head-dim 64 --window 100 --alibi"; do
    echo "test_aarch64: replay $options"
    # shellcheck disable=SC2086
    qemu-aarch64-static -L "$sysroot" build/aarch64/attnrt-perf replay --max-requests 3 \
      --check 64 $options | grep -E '^  (ISA  |rows|largest)'
  done
  echo "test_aarch64: $SECONDS s, of which $ready s for packages"
  exit
fi
CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$(nproc)} cmake --workflow --preset aarch64
echo "test_aarch64: $SECONDS s, of which $ready s for packages"
