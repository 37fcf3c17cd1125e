/// Checks gradients against differences of a function in float32.
#pragma once

#include "catch.hpp"
#include "random_values.hpp"

#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace moevit::test {

/// A function of some values and what it is claimed to be differentiated by them.
struct GradientCheck {
  std::string name;
  std::vector<float> values;
  std::vector<float> gradient;
  std::function<double(std::span<const float> values)> function;
  /// Whether the function may be compared between the values of the last two calls: false where it jumped.
  std::function<bool()> is_smooth = [] { return true; };
  double step = 2e-3;
  double tolerance =
      0.02;  ///< of the difference, in parts of the slope and, a hundredth of it, of the gradient's length
};

/// Compares the slope along a direction that is half the gradient's and half random with a central difference. Returns
/// whether it could be compared.
inline bool check_gradient(const GradientCheck& check, unsigned seed) {
  INFO(check.name);
  REQUIRE(check.values.size() == check.gradient.size());
  double length = 0.;
  for (const float g : check.gradient) length += double{g} * double{g};
  length = std::sqrt(length);
  REQUIRE(std::isfinite(length));
  std::vector<float> direction = normal_values(std::ssize(check.values), seed);
  double slope = 0.;
  for (std::size_t i = 0; i < direction.size(); ++i) {
    direction[i] /= std::sqrt(static_cast<float>(direction.size()));
    if (length > 0.) direction[i] += static_cast<float>(check.gradient[i] / length);
    slope += double{check.gradient[i]} * double{direction[i]};
  }
  const auto value_at = [&](double distance) {
    std::vector<float> moved = check.values;
    for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += static_cast<float>(distance * direction[i]);
    return check.function(moved);
  };
  // Where there is no slope, all that the difference shows is the rounding of the function, 8e-6 of a masked loss: the
  // longer the step, the less it counts.
  const double step = length < 1e-3 ? 4. * check.step : check.step;
  const double above = value_at(step), below = value_at(-step);
  if (!check.is_smooth()) return false;
  CHECK((above - below) / (2. * step) ==
        Approx(slope).epsilon(check.tolerance).margin(check.tolerance * (0.1 + 0.01 * length)));
  return true;
}

}  // namespace moevit::test
