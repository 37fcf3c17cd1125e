/// Load balancing without a loss: a bias per expert that only selection sees.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/index.hpp>

#include <cstdint>
#include <span>

namespace moevit {

/// bias[e] += rate * sign(mean load - load[e]), after a batch in which load[e] choices wanted expert e. The bias is
/// added to scores when experts are selected, never to the weights of their outputs; it is no parameter: nothing decays
/// it, and it stays as it is in inference. Throws Error when the numbers of experts differ or a load is negative.
/// Source: Wang et al. 2024 (2408.15664), algorithm 1.
inline void update_balancing_bias(std::span<const std::int32_t> load, float rate, std::span<float> bias) {
  if (load.size() != bias.size())
    fail("balancing bias: expected loads of ", bias.size(), " experts, found ", load.size());
  std::int64_t sum = 0;
  for (std::size_t expert = 0; expert < load.size(); ++expert) {
    if (load[expert] < 0)
      fail("balancing bias: expected a load of expert ", expert, " of at least 0, found ", load[expert]);
    sum += load[expert];
  }
  const auto experts = static_cast<std::int64_t>(load.size());
  for (std::size_t expert = 0; expert < load.size(); ++expert) {
    const std::int64_t scaled = load[expert] * experts;  // compared with the sum, in integers, without rounding
    if (scaled < sum) bias[expert] += rate;
    if (scaled > sum) bias[expert] -= rate;
  }
}

}  // namespace moevit
