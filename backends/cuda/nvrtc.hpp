// SPDX-License-Identifier: Apache-2.0
// NVIDIA's compiler at run time, a library that is looked for when it is first needed. Knows no
// CUDA header: a compiler needs no device, and neither do its tests.
#pragma once

#include <string>

#include "attnrt/status.hpp"

namespace attnrt::cuda {

class Nvrtc {
 public:
  /// The process's own, loaded once: the file that ATTNRT_NVRTC_LIBRARY names, else libnvrtc where
  /// the system looks for libraries, else in /usr/local/cuda. Null, with the loader's words in
  /// `reason`, where there is none. Can throw std::bad_alloc.
  static const Nvrtc* find(std::string& reason);

  /// Everything that compile() gives the compiler, and the version of attnrt: with the compiler's
  /// own, what decides the code. Needs no compiler.
  static std::string inputs(const std::string& source, int architecture);

  /// Such as "12.8".
  [[nodiscard]] std::string version() const;

  /// Machine code for devices of compute capability architecture / 10 (80: 8.0) of a source that
  /// includes the kernels' headers. Takes seconds. Errors: Internal with the first line of the
  /// compiler's log.
  Status compile(const std::string& source, int architecture, std::string& code) const;

 private:
  using Program = struct ProgramOfNvrtc*;
  using Result = int;  // 0: success

  // The library's functions, by the names that its header gives them.
  struct Functions {
    Result (*version)(int* major, int* minor);
    Result (*create)(Program*, const char* source, const char* name, int headers,
                     const char* const* texts, const char* const* names);
    Result (*destroy)(Program*);
    Result (*compile)(Program, int options, const char* const*);
    Result (*log_size)(Program, size_t*);
    Result (*log)(Program, char*);
    Result (*cubin_size)(Program, size_t*);
    Result (*cubin)(Program, char*);
    const char* (*error)(Result);
  };

  bool load(std::string& reason);
  [[nodiscard]] std::string log_of(Program program) const;

  Functions functions_{};
};

}  // namespace attnrt::cuda
