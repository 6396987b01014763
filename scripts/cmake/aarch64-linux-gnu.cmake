# SPDX-License-Identifier: Apache-2.0
# Debian's cross compiler for 64-bit ARM, with the libraries that scripts/test_aarch64.sh unpacked.
# ctest and CMake run what is built under qemu's user-mode emulation.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

cmake_path(GET CMAKE_CURRENT_LIST_DIR PARENT_PATH ATTNRT_SCRIPTS)
cmake_path(GET ATTNRT_SCRIPTS PARENT_PATH ATTNRT_ROOT)
set(ATTNRT_SYSROOT ${ATTNRT_ROOT}/build/sysroot-aarch64
    CACHE PATH "Unpacked arm64 packages: oneTBB, xsimd, doctest, CLI11, fmt, nlohmann-json")
# CMake hands a toolchain file to every try_compile; the path has to go along.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES ATTNRT_SYSROOT)

# The C and C++ libraries are the cross compiler's own: a --sysroot would hide them.
set(CMAKE_FIND_ROOT_PATH ${ATTNRT_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

set(CMAKE_CROSSCOMPILING_EMULATOR
    qemu-aarch64-static;-L;${ATTNRT_SYSROOT})
