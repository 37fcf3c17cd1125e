/// The kernel of bicubic resampling.
#pragma once

#include <cmath>

namespace moevit {

/// The cubic convolution kernel of Keys (1981) with slope a at distance 1; 0 from distance 2 on.
inline double cubic(double x, double a) {
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

}  // namespace moevit
