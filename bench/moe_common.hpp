/// Plain loops for routing, which routing, dispatch and expert benchmarks check against.
#pragma once

#include "common.hpp"
#include "reference_model.hpp"

#include <moevit/moe/assign.hpp>
#include <moevit/moe/plan.hpp>

#include <array>
#include <numeric>

namespace moevit::bench {

/// The widths of the V-MoE layer that is measured: eight images of 197 tokens through an S-like layer.
inline constexpr Index images = 8, tokens_per_image = 197, tokens = images * tokens_per_image, dim = 384, hidden = 1536;

/// Token, expert and slot of a kept choice.
using Kept = std::array<Index, 3>;

inline std::vector<Kept> kept_choices(const SparsePlan& plan) {
  std::vector<Kept> kept;
  for (const Choice& choice : plan.choices())
    if (choice.slot >= 0) kept.push_back({choice.token, choice.expert, choice.slot});
  std::sort(kept.begin(), kept.end());
  return kept;
}

/// V-MoE's fill order in plain loops: all first choices in the order of service, then all second ones; an expert that
/// is full drops.
inline std::vector<Kept> plain_top_k(const reference::Matrix& gates, Index k, Index capacity, Priority priority) {
  std::vector<Index> order(static_cast<std::size_t>(gates.rows));
  std::iota(order.begin(), order.end(), Index{0});
  const auto best = [&](Index token) { return *std::max_element(gates.row(token), gates.row(token) + gates.cols); };
  if (priority == Priority::max_gate)
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return best(a) > best(b); });
  std::vector<Index> filled(static_cast<std::size_t>(gates.cols));
  std::vector<Kept> kept;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(k); ++rank)
    for (const Index token : order) {
      const Index expert = reference::largest(gates.row(token), gates.cols, k)[rank];
      const Index slot = filled[static_cast<std::size_t>(expert)]++;
      if (slot < capacity) kept.push_back({token, expert, slot});
    }
  std::sort(kept.begin(), kept.end());
  return kept;
}

/// Each expert's `capacity` best tokens of each group.
inline std::vector<Kept> plain_expert_choice(const reference::Matrix& gates, Index group, Index capacity) {
  std::vector<Kept> kept;
  for (Index first = 0; first < gates.rows; first += group)
    for (Index expert = 0; expert < gates.cols; ++expert) {
      std::vector<double> column(static_cast<std::size_t>(group));
      for (Index i = 0; i < group; ++i) column[static_cast<std::size_t>(i)] = gates(first + i, expert);
      const std::vector<Index> best = reference::largest(column.data(), group, capacity);
      for (Index slot = 0; slot < capacity; ++slot)
        kept.push_back({first + best[static_cast<std::size_t>(slot)], expert, slot});
    }
  std::sort(kept.begin(), kept.end());
  return kept;
}

/// Throws Error when the kept choices differ.
inline void require_same(const SparsePlan& plan, const std::vector<Kept>& expected) {
  if (kept_choices(plan) != expected) fail("wrong result: the plan differs from plain loops over the same gates");
}

/// Tokens of `count` images that differ from image to image, as those of a trained model do: a shift of their own each.
inline std::vector<float> image_tokens(Index count, Index per_image, Index width, unsigned seed) {
  std::vector<float> values = test::normal_values(count * per_image * width, seed);
  const std::vector<float> shift = test::normal_values(count * width, seed + 50);
  for (Index row = 0; row < count * per_image; ++row)
    for (Index i = 0; i < width; ++i)
      values[static_cast<std::size_t>(row * width + i)] += shift[static_cast<std::size_t>(row / per_image * width + i)];
  return values;
}

}  // namespace moevit::bench
