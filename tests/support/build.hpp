// SPDX-License-Identifier: Apache-2.0
// What kind of build the tests are in: some things cannot be tested under a sanitizer, and slow
// builds run fewer random problems.
#pragma once

namespace attnrt::test {

#if defined(__SANITIZE_ADDRESS__)
#define ATTNRT_TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ATTNRT_TEST_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define ATTNRT_TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ATTNRT_TEST_TSAN 1
#endif
#endif

// ATTNRT_TEST_EMULATOR comes from CMake where the build is for another architecture.
#if defined(ATTNRT_TEST_ASAN) || defined(ATTNRT_TEST_TSAN) || defined(ATTNRT_TEST_EMULATOR) || \
    !defined(__OPTIMIZE__)
inline constexpr bool kSlowBuild = true;
#else
inline constexpr bool kSlowBuild = false;
#endif

}  // namespace attnrt::test
