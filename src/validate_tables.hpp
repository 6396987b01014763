// SPDX-License-Identifier: Apache-2.0
// Rules about prefix sums, block tables and page ids, shared by planning and appending.
#pragma once

#include <cstdint>
#include <span>

#include "attnrt/batch.hpp"
#include "attnrt/status.hpp"
#include "src/refuse.hpp"

namespace attnrt {

/// First 0, never falling, `entries` of them.
Status check_prefix_sums(ArgName name, std::span<const int32_t> sums, int64_t entries);

/// A list of one entry per sequence.
Status check_entries(ArgName name, size_t entries, int64_t batch);

/// Everything about a table but page ids. `table` is paged.
Status check_block_table(const BlockTable& table, int64_t batch);

/// Pages that row b has, and the keys that fit into them. `table` has been checked.
int64_t table_pages(const BlockTable& table, int64_t b) noexcept;
int64_t table_slots(const BlockTable& table, int64_t b) noexcept;

/// "block_table[3][17] is 4096, the cache has 4096 pages".
Status refuse_page(int64_t seq, int64_t index, int32_t id, int64_t num_pages);

/// "the block_table holds 64 keys (4 pages of 16)", for the end of a message.
std::string table_room(const BlockTable& table, int64_t b);

}  // namespace attnrt
