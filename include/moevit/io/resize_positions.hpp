/// Resizes learned position embeddings to another grid, as each of the reference libraries does.
#pragma once

#include <moevit/core/cubic.hpp>
#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace moevit {

enum class PositionResampling : unsigned char {
  zoom,                  // linear, both ends aligned (scipy.ndimage.zoom of order 1): vmoe, vit_jax
  bilinear,              // half-pixel centres, as torch.nn.functional.interpolate
  bicubic,               // the same with a = -0.75: Hugging Face
  bilinear_antialiased,  // wider filters when shrinking, as Pillow
  bicubic_antialiased    // the same with a = -0.5: timm
};

/// Rows of a table of position embeddings: one for a class token if there is one, then the grid row by row.
struct PositionGrid {
  Index rows = 0;
  Index columns = 0;
  bool token = false;

  Index tokens() const { return rows * columns + (token ? 1 : 0); }
};

namespace detail {

/// Weights of the source places first, first + 1, ... for one target place.
struct AxisTaps {
  Index first = 0;
  std::vector<double> weights;
};

inline double triangle(double x) { return std::max(0.0, 1 - std::abs(x)); }

/// Taps around a source coordinate; places beyond an end count for the end.
template <class Filter>
AxisTaps clamped_taps(double coordinate, Index reach, Index size, Filter filter) {
  const auto base = static_cast<Index>(std::floor(coordinate));
  const Index low = std::clamp<Index>(base - reach + 1, 0, size - 1),
              high = std::clamp<Index>(base + reach, 0, size - 1);
  AxisTaps taps{low, std::vector<double>(static_cast<std::size_t>(high - low + 1), 0.0)};
  for (Index place = base - reach + 1; place <= base + reach; ++place)
    taps.weights[static_cast<std::size_t>(std::clamp<Index>(place, 0, size - 1) - low)] +=
        filter(coordinate - static_cast<double>(place));
  return taps;
}

/// Taps of a filter that is stretched when shrinking; their sum is 1.
template <class Filter>
AxisTaps antialiased_taps(Index target, double scale, double support, Index size, Filter filter) {
  const double stretch = std::max(scale, 1.0), centre = (static_cast<double>(target) + 0.5) * scale;
  const Index first = std::max<Index>(0, static_cast<Index>(centre - support * stretch + 0.5));
  const Index end = std::min(size, static_cast<Index>(centre + support * stretch + 0.5));
  AxisTaps taps{first, {}};
  double sum = 0;
  for (Index place = first; place < end; ++place) {
    taps.weights.push_back(filter((static_cast<double>(place) - centre + 0.5) / stretch));
    sum += taps.weights.back();
  }
  for (double& weight : taps.weights) weight /= sum;
  return taps;
}

/// The taps of target place `target` of `to` from an axis of `from` places.
inline AxisTaps axis_taps(PositionResampling resampling, Index target, Index from, Index to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double centre = (static_cast<double>(target) + 0.5) * scale - 0.5;
  switch (resampling) {
    case PositionResampling::zoom: {
      const double step = to > 1 ? static_cast<double>(from - 1) / static_cast<double>(to - 1) : 0.0;
      return clamped_taps(static_cast<double>(target) * step, 1, from, triangle);
    }
    case PositionResampling::bilinear:
      return clamped_taps(centre, 1, from, triangle);
    case PositionResampling::bicubic:
      return clamped_taps(centre, 2, from, [](double x) { return cubic(x, -0.75); });
    case PositionResampling::bilinear_antialiased:
      return antialiased_taps(target, scale, 1.0, from, triangle);
    case PositionResampling::bicubic_antialiased:
      return antialiased_taps(target, scale, 2.0, from, [](double x) { return cubic(x, -0.5); });
  }
  return {};
}

inline void check_positions(std::span<const float> values, const PositionGrid& grid, Index dim, const char* which) {
  if (grid.rows < 1 || grid.columns < 1 || dim < 1 || std::ssize(values) != grid.tokens() * dim)
    fail("resize_positions: ", which, ": expected ", grid.tokens() * dim, " values for a grid of ", grid.rows, " x ",
         grid.columns, grid.token ? " and a class token" : "", " of width ", dim, ", found ", values.size());
}

}  // namespace detail

/// Fills `target` (to.tokens() x dim) from `source` (from.tokens() x dim). The class token's row is copied; when only
/// the target has one, that row stays as it is. Throws Error when sizes do not fit.
inline void resize_positions(PositionResampling resampling, std::span<const float> source, const PositionGrid& from,
                             std::span<float> target, const PositionGrid& to, Index dim) {
  detail::check_positions(source, from, dim, "source");
  detail::check_positions(target, to, dim, "target");
  if (from.token && to.token) std::copy_n(source.begin(), dim, target.begin());
  const float* source_grid = source.data() + (from.token ? dim : 0);
  float* out = target.data() + (to.token ? dim : 0);
  std::vector<detail::AxisTaps> across;
  for (Index column = 0; column < to.columns; ++column)
    across.push_back(detail::axis_taps(resampling, column, from.columns, to.columns));
  std::vector<double> sum(static_cast<std::size_t>(dim));
  for (Index row = 0; row < to.rows; ++row) {
    const detail::AxisTaps down = detail::axis_taps(resampling, row, from.rows, to.rows);
    for (const detail::AxisTaps& right : across) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (std::size_t i = 0; i < down.weights.size(); ++i)
        for (std::size_t j = 0; j < right.weights.size(); ++j) {
          const Index place = (down.first + static_cast<Index>(i)) * from.columns + right.first + static_cast<Index>(j);
          const double weight = down.weights[i] * right.weights[j];
          for (Index d = 0; d < dim; ++d)
            sum[static_cast<std::size_t>(d)] += weight * static_cast<double>(source_grid[place * dim + d]);
        }
      for (const double value : sum) *out++ = static_cast<float>(value);
    }
  }
}

}  // namespace moevit
