/// Clipping of gradients by their global norm.
#pragma once

#include <moevit/train/parameter_runs.hpp>

#include <array>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

namespace moevit {

namespace detail {

/// Sum of squares of `count` floats, in eight partial sums, so that it can be vectorised.
inline double sum_of_squares(const float* values, Index count) {
  constexpr Index width = 8;
  std::array<double, width> sums{};
  Index i = 0;
  for (; i + width <= count; i += width)
    for (Index lane = 0; lane < width; ++lane) {
      const auto value = static_cast<double>(values[i + lane]);
      sums[static_cast<std::size_t>(lane)] += value * value;
    }
  double sum = 0;
  for (; i < count; ++i) sum += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  for (const double part : sums) sum += part;
  return sum;
}

}  // namespace detail

/// Root of the sum of squares of all elements, in double precision and a fixed order. Throws Error naming the first
/// parameter that has an element that is not finite.
template <ParameterList Gradients>
double global_norm(const Gradients& gradients, ExecutorRef executor = {}) {
  std::vector<double> squares(gradients.size());
  each_parameter_in_parallel(gradients.size(), executor, [&](std::size_t i) {
    detail::check_trainable(gradients[i]);
    visit_runs(gradients[i],
               [&](Index, const float* values, Index count) { squares[i] += detail::sum_of_squares(values, count); });
  });
  for (std::size_t i = 0; i < squares.size(); ++i)
    if (!std::isfinite(squares[i])) fail("gradient of ", gradients[i].name, ": expected finite values, found others");
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.));
}

/// Multiplies all gradients by clip / norm where their global norm is at least `clip`, as optax does. Returns the norm
/// before. Throws Error when clip is not above 0, and as global_norm does; then nothing has changed.
inline double clip_by_global_norm(std::span<const Parameter> gradients, double clip, ExecutorRef executor = {}) {
  if (!(clip > 0)) fail("clipping: expected a norm above 0, found ", clip);
  const double norm = global_norm(gradients, executor);
  if (norm < clip) return norm;
  const auto factor = static_cast<float>(clip / norm);
  each_parameter_in_parallel(gradients.size(), executor, [&](std::size_t number) {
    visit_runs(gradients[number], [&](Index, float* values, Index count) {
      for (Index i = 0; i < count; ++i) values[i] *= factor;
    });
  });
  return norm;
}

}  // namespace moevit
