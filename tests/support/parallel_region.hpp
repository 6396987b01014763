// SPDX-License-Identifier: Apache-2.0
// A parallel region of an application that uses oneTBB itself.
#pragma once

#include <functional>

namespace attnrt::test {

/// body() so many times, side by side.
void in_parallel_region(int times, const std::function<void()>& body);

}  // namespace attnrt::test
