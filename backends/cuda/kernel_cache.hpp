// SPDX-License-Identifier: Apache-2.0
// Compiled kernels on disk, one file each, shared by processes. What cannot be read or written, or
// is not what was asked for, is as if it were not there: no function here fails or prints.
#pragma once

#include <string>
#include <utility>

namespace attnrt::cuda {

/// What decides a compiled kernel.
struct KernelInputs {
  std::string text;      // everything but the compiler's version: Nvrtc::inputs
  std::string compiler;  // its version; empty: there is no compiler, any version's kernel will do
};

class KernelCache {
 public:
  /// Empty: no cache. The directory is made, for its owner only, when something is stored. Whoever
  /// may write to it decides what runs on the device.
  explicit KernelCache(std::string directory) : directory_(std::move(directory)) {}

  /// The directory that ATTNRT_KERNEL_CACHE names at this moment.
  static KernelCache from_environment();

  [[nodiscard]] bool enabled() const { return !directory_.empty(); }

  /// False, and `image` as it was, where there is none. Can throw std::bad_alloc.
  bool load(const KernelInputs& inputs, std::string& image) const;

  /// Replaces what is there; of several compilers' versions the last one's stays. Readers see all
  /// of a file or nothing. Can throw std::bad_alloc.
  void store(const KernelInputs& inputs, const std::string& image) const;

 private:
  [[nodiscard]] std::string path_of(const KernelInputs& inputs) const;

  std::string directory_;
};

}  // namespace attnrt::cuda
