// SPDX-License-Identifier: Apache-2.0
// The slot values of a mask of the catalogue.
#include "tests/support/mask_catalogue.hpp"

namespace attnrt::testing {

std::vector<expr::SlotValue> MaskCase::values() const {
  std::vector<expr::SlotValue> out;
  for (const auto& [slot, value] : ints) out.push_back(expr::int_value(slot, value));
  for (const MaskTable& table : tables) {
    const void* data = table.ints.data();
    if (!table.bytes.empty()) data = table.bytes.data();
    if (!table.floats.empty()) data = table.floats.data();
    out.push_back(table.shape.size() == 1
                      ? expr::buffer_value(table.name, table.element, data, {table.shape[0]})
                      : expr::buffer_value(table.name, table.element, data,
                                           {table.shape[0], table.shape[1]}));
  }
  return out;
}

}  // namespace attnrt::testing
