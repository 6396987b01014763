// SPDX-License-Identifier: Apache-2.0
// The reference as a backend that applications and tests can select by its name, "reference".
#pragma once

#include "src/backend.hpp"

namespace attnrt::reference {

/// Single-threaded, slow, without workspace; always available. Merged partials agree with attend
/// within rounding, not bit for bit, because attend never rounds a state to f32.
const Backend& reference_backend() noexcept;

}  // namespace attnrt::reference
