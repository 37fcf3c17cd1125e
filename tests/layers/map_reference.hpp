/// What the tests of layers over feature maps share.
#pragma once

#include "gradient_check.hpp"
#include "layers/layer_test.hpp"
#include "layers/reference_maps.hpp"

namespace moevit::test {

/// Sum of y * cotangent in double precision.
inline double weighted_sum(std::span<const double> y, std::span<const float> cotangent) {
  double sum = 0.;
  for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * double{cotangent[i]};
  return sum;
}
inline double weighted_sum(std::span<const float> y, std::span<const float> cotangent) {
  const std::vector<double> wide(y.begin(), y.end());
  return weighted_sum(wide, cotangent);
}

/// Sizes of maps that layers are tested with: odd ones, one place, one row, and no image at all.
struct MapCase {
  Index images = 1;
  MapSize size;
};
inline constexpr MapCase map_cases[] = {{2, {7, 5}}, {1, {1, 1}}, {3, {1, 9}}, {0, {4, 4}}, {1, {17, 12}}};

}  // namespace moevit::test
