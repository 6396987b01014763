// SPDX-License-Identifier: Apache-2.0
// Appending for calls that have validated their arguments themselves.
#pragma once

#include "src/context.hpp"

namespace attnrt {

/// append_kv without the checks.
Status append_checked(Context::Impl& impl, const AppendArgs& args);

/// Token i goes to row i of a packed cache, rotated by rotary_positions[i].
Status append_rows(Context::Impl& impl, const AppendArgs& args);

}  // namespace attnrt
