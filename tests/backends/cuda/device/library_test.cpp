// SPDX-License-Identifier: Apache-2.0
// The shared object itself, with or without a device: ATTNRT_CUDA_LIBRARY is the one that was
// built.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include "backends/cuda/plugin.hpp"
#include "backends/cuda_plugin.hpp"

namespace attnrt {

TEST_SUITE("libattnrt_cuda.so") {
  TEST_CASE("it loads without a driver and answers: a device, or the runtime's reason") {
    const Capability cuda = cuda_plugin().capability();
    MESSAGE(cuda.reason);
    CHECK_FALSE(cuda.reason.empty());
    CHECK(cuda.reason.find("libattnrt_cuda.so") == std::string::npos);  // dlopen's own words
    CHECK(cuda.reason.find("another build") == std::string::npos);
  }

  TEST_CASE("another version gets no backend") {
    const char* path = std::getenv("ATTNRT_CUDA_LIBRARY");
    REQUIRE(path != nullptr);
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    REQUIRE(library != nullptr);
    const auto ask = reinterpret_cast<CudaPluginFunction>(dlsym(library, kCudaPluginFunction));
    REQUIRE((ask != nullptr));
    BackendAbi abi;
    CHECK(ask(&abi) != nullptr);
    ++abi.version[2];
    CHECK(ask(&abi) == nullptr);
    abi = BackendAbi();
    abi.sizes[1] += 8;
    CHECK(ask(&abi) == nullptr);
    CHECK(ask(nullptr) == nullptr);
  }
}

}  // namespace attnrt
