/// Seeded random numbers for tests and benchmarks.
#pragma once

#include <moevit/core/parameter.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace moevit::test {

/// `count` normally distributed values. The same seed gives the same values with the same standard library.
inline std::vector<float> normal_values(Index count, unsigned seed, float mean = 0.f, float deviation = 1.f) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> distribution(mean, deviation);
  std::vector<float> values(static_cast<std::size_t>(count));
  std::generate(values.begin(), values.end(), [&] { return distribution(engine); });
  return values;
}

/// Gives every parameter values of the size that trained ones have: kernels keep the variance of their input, the
/// scales of norms lie around 1, running variances above 1/2, and nothing is zero, so that a forgotten bias or scale
/// shows.
inline void randomise(std::vector<Parameter> parameters, unsigned seed) {
  for (const Parameter& parameter : parameters) {
    const bool is_scale =
        parameter.name.ends_with("scale") || parameter.name.ends_with("scale1") || parameter.name.ends_with("scale2");
    const Index stacked = static_cast<Index>(parameter.matrices.size());
    const Index inputs = parameter.shape.size() < 2 ? 0 : parameter.size() / stacked / parameter.shape.back();
    const float deviation =
        parameter.name.ends_with("kernel") && inputs ? 1.f / std::sqrt(static_cast<float>(inputs)) : 0.2f;
    std::vector<float> values = normal_values(parameter.size(), seed++, is_scale ? 1.f : 0.f, deviation);
    if (parameter.name.ends_with("running_variance"))
      for (float& value : values) value = 0.5f + std::abs(5.f * value);
    parameter.assign(values);
  }
}

}  // namespace moevit::test
