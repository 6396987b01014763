// SPDX-License-Identifier: Apache-2.0
// Rules about prefix sums, block tables and page ids.
#include "src/validate_tables.hpp"

#include <string>

#include "src/extent.hpp"

namespace attnrt {
namespace {

Status check_dense_table(const BlockTable& table, int64_t batch) {
  if (!table.last_page_len.empty()) {
    return refuse("block_table.last_page_len is given without block_table.indptr");
  }
  if (table.max_pages < 0) {
    return refuse("block_table.max_pages is ", table.max_pages, ", must not be negative");
  }
  if (table.row_stride < 0 || (table.row_stride > 0 && table.row_stride < table.max_pages)) {
    return refuse("block_table.row_stride is ", table.row_stride, ", must be 0 or at least ",
                  table.max_pages, " (max_pages)");
  }
  if (batch == 0) return {};
  const int64_t stride = table.row_stride != 0 ? table.row_stride : table.max_pages;
  const int64_t needed = capped_add(capped_mul(batch - 1, stride), table.max_pages);
  if (static_cast<int64_t>(table.pages.size()) < needed) {
    return refuse("block_table.pages has ", table.pages.size(), " entries, must have ", needed,
                  " (", batch, " rows of ", table.max_pages, " pages, row stride ", stride, ")");
  }
  return {};
}

Status check_csr_table(const BlockTable& table, int64_t batch) {
  if (Status status = check_prefix_sums({"block_table.indptr"}, table.indptr, batch + 1);
      !status.ok()) {
    return status;
  }
  const auto pages = static_cast<int64_t>(table.pages.size());
  if (table.indptr.back() > pages) {
    return refuse("block_table.indptr[", batch, "] is ", table.indptr.back(),
                  ", block_table.pages has ", pages, " entries");
  }
  if (table.last_page_len.empty()) return {};
  if (Status status =
          check_entries({"block_table.last_page_len"}, table.last_page_len.size(), batch);
      !status.ok()) {
    return status;
  }
  for (int64_t b = 0; b < batch; ++b) {
    const int32_t keys = table.last_page_len[static_cast<size_t>(b)];
    const int32_t least = table_pages(table, b) == 0 ? 0 : 1;
    if (keys < least || keys > table.page_size) {
      return refuse("block_table.last_page_len[", b, "] is ", keys, ", must be ", least, "..",
                    table.page_size, " (page_size)");
    }
  }
  return {};
}

}  // namespace

Status check_prefix_sums(ArgName name, std::span<const int32_t> sums, int64_t entries) {
  if (static_cast<int64_t>(sums.size()) != entries) {
    return refuse(name, " has ", sums.size(), " entries, must have ", entries, " (batch + 1)");
  }
  if (sums[0] != 0) return refuse(name, "[0] is ", sums[0], ", must be 0");
  for (size_t i = 1; i < sums.size(); ++i) {
    if (sums[i] < sums[i - 1]) {
      return refuse(name, "[", i, "] is ", sums[i], ", must be at least ", sums[i - 1],
                    " (the entry before it)");
    }
  }
  return {};
}

Status check_entries(ArgName name, size_t entries, int64_t batch) {
  if (static_cast<int64_t>(entries) == batch) return {};
  return refuse(name, " has ", entries, " entries, must have ", batch, " (batch)");
}

Status check_block_table(const BlockTable& table, int64_t batch) {
  if (table.page_size < 0) {
    return refuse("block_table.page_size is ", table.page_size, ", must not be negative");
  }
  return table.is_csr() ? check_csr_table(table, batch) : check_dense_table(table, batch);
}

int64_t table_pages(const BlockTable& table, int64_t b) noexcept {
  if (!table.is_csr()) return table.max_pages;
  const auto i = static_cast<size_t>(b);
  return int64_t{table.indptr[i + 1]} - table.indptr[i];
}

int64_t table_slots(const BlockTable& table, int64_t b) noexcept {
  return table_pages(table, b) * table.page_size;
}

Status refuse_page(int64_t seq, int64_t index, int32_t id, int64_t num_pages) {
  return refuse("block_table[", seq, "][", index, "] is ", id, ", the cache has ", num_pages,
                " pages");
}

std::string table_room(const BlockTable& table, int64_t b) {
  return "the block_table holds " + std::to_string(table_slots(table, b)) + " keys (" +
         std::to_string(table_pages(table, b)) + " pages of " + std::to_string(table.page_size) +
         ")";
}

}  // namespace attnrt
