// SPDX-License-Identifier: Apache-2.0
// Shapes of attention in models that people serve, by name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attnrt/attention.hpp"

namespace attnrt::perf {

/// Layers of a model that share a spec, and so a plan per step.
struct LayerKind {
  std::string name;  // "full", "window 4096"
  AttentionSpec spec;
};

/// Layer i is of kind kinds[i % kinds.size()].
struct Model {
  std::string name;
  std::vector<LayerKind> kinds;
  int32_t num_layers = 0;
  bool v_is_k_prefix = false;  // MLA, absorbed: one latent row per key

  [[nodiscard]] const LayerKind& kind_of(int32_t layer) const {
    return kinds[static_cast<size_t>(layer) % kinds.size()];
  }
  [[nodiscard]] const AttentionSpec& shape() const { return kinds.front().spec; }

  /// Bytes that one token takes in the cache of one layer.
  [[nodiscard]] int64_t token_bytes(DType dtype) const;
};

std::span<const Model> known_models();

/// Throws BadInput listing the known names.
const Model& find_model(std::string_view name);

/// A model by numbers, checked: throws BadInput naming the option.
struct ShapeNumbers {
  std::string heads;  // "32/8"
  int64_t head_dim = 128;
  int64_t head_dim_v = 0;  // 0: head_dim
  int64_t window = 0;      // newest keys that a query sees, itself included; 0: all
  double softcap = 0.0;
  bool alibi = false;
  bool sinks = false;
  bool mla = false;
};
Model custom_model(const ShapeNumbers& numbers);

}  // namespace attnrt::perf
