// SPDX-License-Identifier: Apache-2.0
// The kernels' headers as text, for compiling at run time. Written by scripts/cmake/embed.cmake
// when the project is built.
#pragma once

#include <span>

namespace attnrt::cuda {

struct KernelHeader {
  const char* name;  // as #include has it
  const char* text;
};

std::span<const KernelHeader> kernel_headers() noexcept;

}  // namespace attnrt::cuda
