// SPDX-License-Identifier: Apache-2.0
// How much cache and memory this machine has: what decides when KV counts as cold.
#pragma once

#include <cstdint>
#include <string>

namespace attnrt::perf {

/// Bytes of all last-level caches that sysfs lists below `cpu_root`, each counted once however many
/// CPUs share it; 0 where nothing is listed.
int64_t last_level_cache_bytes(const std::string& cpu_root = "/sys/devices/system/cpu");

/// available_memory_bytes(), lowered to what the cgroup (version 2) at `cgroup_root` still allows;
/// 0 where unknown.
int64_t memory_room_bytes(const std::string& cgroup_root = "/sys/fs/cgroup");

}  // namespace attnrt::perf
