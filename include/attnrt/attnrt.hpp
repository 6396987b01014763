// SPDX-License-Identifier: Apache-2.0
// libattnrt, all of it.
#pragma once

#include "attnrt/attention.hpp"     // IWYU pragma: export
#include "attnrt/batch.hpp"         // IWYU pragma: export
#include "attnrt/expr.hpp"          // IWYU pragma: export
#include "attnrt/flash_attn.hpp"    // IWYU pragma: export
#include "attnrt/kv_cache.hpp"      // IWYU pragma: export
#include "attnrt/mask_formats.hpp"  // IWYU pragma: export
#include "attnrt/runtime.hpp"       // IWYU pragma: export
#include "attnrt/status.hpp"        // IWYU pragma: export
#include "attnrt/tensor.hpp"        // IWYU pragma: export
