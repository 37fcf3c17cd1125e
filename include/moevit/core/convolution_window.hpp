/// The square window of a convolution: which places of a map it meets.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/map_size.hpp>

#include <algorithm>

namespace moevit {

/// The taps of a window along one axis that meet a map: tap first + i * step meets place + i * place_step, for i below
/// count. What the window has outside of the map are zeros.
struct WindowTaps {
  Index first = 0;
  Index step = 1;
  Index count = 0;
  Index place = 0;
  Index place_step = 1;
};

/// A place of the maps of a batch.
struct MapPlace {
  Index image = 0;
  Index row = 0;
  Index column = 0;
};

/// Side, stride and padding of a square window, the same for both axes.
struct ConvolutionWindow {
  Index kernel = 1;
  Index stride = 1;
  Index padding = 0;

  constexpr bool operator==(const ConvolutionWindow&) const = default;

  constexpr Index taps() const { return kernel * kernel; }
  /// Whether every place is computed from itself alone.
  constexpr bool is_pointwise() const { return kernel == 1 && stride == 1 && padding == 0; }
  constexpr bool is_valid() const { return kernel > 0 && stride > 0 && padding >= 0 && padding < kernel; }

  /// The size of the result for a map of that size. Throws Error when the padded map is smaller than the window.
  constexpr MapSize result_size(MapSize size) const {
    const Index least = std::min(size.height, size.width) + 2 * padding;
    if (least < kernel)
      fail("convolution: expected a map with at least ", kernel, " places on a side including its padding, found ",
           least, " (map ", size.height, " x ", size.width, ")");
    return {(size.height + 2 * padding - kernel) / stride + 1, (size.width + 2 * padding - kernel) / stride + 1};
  }

  /// The place of the map where the window of a place of the result begins; it may be beside the map.
  constexpr MapPlace corner_of(const MapPlace& result) const {
    return {result.image, result.row * stride - padding, result.column * stride - padding};
  }

  /// The taps that meet a map of `extent` places on the way to place `result` of the result.
  constexpr WindowTaps taps_at(Index result, Index extent) const {
    const Index corner = result * stride - padding, first = std::max(Index{0}, -corner);
    return {first, 1, std::max(Index{0}, std::min(kernel, extent - corner) - first), corner + first, 1};
  }

  /// The taps through which place `source` of the map goes into a result of `extent` places, and which these are.
  constexpr WindowTaps adjoint_taps_at(Index source, Index extent) const {
    const Index padded = source + padding, least = std::max(Index{0}, padded - (extent - 1) * stride);
    const Index first = padded % stride + round_up(std::max(Index{0}, least - padded % stride), stride);
    const Index last = std::min(kernel - 1, padded);
    return {first, stride, last < first ? 0 : (last - first) / stride + 1, (padded - first) / stride, -1};
  }
};

/// The place that row `index` of the matrix of maps holds.
constexpr MapPlace place_of(Index index, MapSize size) {
  const Index row = index / size.width;
  return {row / size.height, row % size.height, index % size.width};
}

}  // namespace moevit
