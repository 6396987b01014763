#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Cross-compiles everything for 64-bit ARM and runs the tests that depend on the architecture under
# qemu's user-mode emulation. It shows that results are right there; of speed it says nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  cat <<'USAGE'
usage: scripts/test_aarch64.sh [--help]
Installs what is missing of a cross compiler and qemu's user-mode emulation, unpacks the arm64
packages of the libraries into build/sysroot-aarch64 (nothing of them is installed), then
configures, builds and tests the preset aarch64. Needs Debian 12 or later on another architecture.
USAGE
}

case "${1:-}" in
  "") ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 2 ;;
esac

die() {
  printf 'test_aarch64: %s\n' "$@" >&2
  exit 1
}

[[ $(uname -m) != aarch64 ]] || die "this machine is 64-bit ARM: scripts/test.sh tests it as it is"
scripts/setup.sh

missing=()
command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
if ((${#missing[@]})); then
  as_root=(env)
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "sudo is missing; as root: apt-get install ${missing[*]}"
    as_root=(sudo env)
  fi
  echo "test_aarch64: installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
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
  apt-get update -qq
  apt-get install -y -qq --download-only --no-install-recommends "${libraries[@]}" >/dev/null ||
    die "the package sources of this machine have no arm64 (Debian's have, Ubuntu's have not)"
  rm -rf "$sysroot"
  mkdir -p "$sysroot"
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb --extract "$package" "$sysroot"; done
  echo "${libraries[*]}" >"$sysroot/packages"
  unset APT_CONFIG
fi

ready=$SECONDS
CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$(nproc)} cmake --workflow --preset aarch64
echo "test_aarch64: $SECONDS s, of which $ready s for packages"
