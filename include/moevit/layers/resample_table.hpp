/// Bicubic resampling of a table of vectors to maps of another size, and its adjoint.
#pragma once

#include <moevit/core/cubic.hpp>
#include <moevit/core/map_size.hpp>
#include <moevit/simd/rows.hpp>

#include <algorithm>
#include <array>

namespace moevit {

namespace detail {

/// Four source places of one axis and their weights; half-pixel centres, a = -0.75, places beyond an end count for the
/// end (torch's bicubic interpolation without antialias).
struct CubicTaps {
  std::array<Index, 4> places;
  std::array<double, 4> weights;

  CubicTaps(Index target, Index from, Index to) {
    const double scale = static_cast<double>(from) / static_cast<double>(to);
    const double centre = (static_cast<double>(target) + 0.5) * scale - 0.5;
    const auto base = static_cast<Index>(std::floor(centre));
    for (Index tap = 0; tap < 4; ++tap) {
      const Index place = base - 1 + tap;
      places[static_cast<std::size_t>(tap)] = std::clamp<Index>(place, 0, from - 1);
      weights[static_cast<std::size_t>(tap)] = cubic(centre - static_cast<double>(place), -0.75);
    }
  }
};

/// visit(row of the target, row of the source, weight) for all taps of a resampling.
template <class Visit>
void each_cubic_tap(MapSize from, MapSize to, Visit visit) {
  for (Index y = 0; y < to.height; ++y) {
    const CubicTaps down(y, from.height, to.height);
    for (Index x = 0; x < to.width; ++x) {
      const CubicTaps across(x, from.width, to.width);
      for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t j = 0; j < 4; ++j)
          visit(y * to.width + x, down.places[i] * from.width + across.places[j],
                static_cast<float>(down.weights[i] * across.weights[j]));
    }
  }
}

}  // namespace detail

/// out (to.places() x dim, assigned) from a table of from.places() x dim.
inline void resample_table(const float* table, MapSize from, MapSize to, Index dim, float* out) {
  std::fill_n(out, to.places() * dim, 0.f);
  detail::each_cubic_tap(from, to, [&](Index target, Index source, float weight) {
    simd::add_scaled_row(weight, table + source * dim, dim, out + target * dim);
  });
}

/// d_table += what d_out, the gradient of resample_table's result, makes of it.
inline void add_resample_gradient(const float* d_out, MapSize from, MapSize to, Index dim, float* d_table) {
  detail::each_cubic_tap(from, to, [&](Index target, Index source, float weight) {
    simd::add_scaled_row(weight, d_out + target * dim, dim, d_table + source * dim);
  });
}

}  // namespace moevit
