// SPDX-License-Identifier: Apache-2.0
// Compiled without ThreadSanitizer, as the library's own loop is: of oneTBB's templates the linker
// keeps one copy.
#include "tests/support/parallel_region.hpp"

#include <tbb/parallel_for.h>

namespace attnrt::test {

void in_parallel_region(int times, const std::function<void()>& body) {
  tbb::parallel_for(0, times, [&](int) { body(); });
}

}  // namespace attnrt::test
