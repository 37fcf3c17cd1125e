/// Bilinear resizing of feature maps.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/layers/separable_map.hpp>

#include <cmath>

namespace moevit {

/// Linear interpolation along an axis between the centres of places ("align_corners = false" in PyTorch): result r lies
/// at (r + 1/2) * source / result - 1/2, not below 0; behind the last centre the last place is repeated.
class ResizeAxis {
 public:
  ResizeAxis(Index source, Index result)
      : source_(source),
        result_(result),
        step_(result > 0 ? static_cast<float>(source) / static_cast<float>(result) : 0.f) {
    if (source < 1 && result > 0) fail("resizing a map: expected at least 1 place on each side, found ", source);
  }

  AxisRange sources(Index result) const {
    const Index low = static_cast<Index>(position(result));
    return {low, std::min(low + 2, source_)};
  }
  AxisRange results(Index source) const {
    // Positions in (source - 1, source + 1), and one more on each side for rounding.
    const auto at = static_cast<float>(source);
    const Index first = static_cast<Index>((at - 0.5f) / step_ - 0.5f) - 1;
    const Index last = static_cast<Index>((at + 1.5f) / step_ - 0.5f) + 2;
    return {std::clamp(first, Index{0}, result_), std::clamp(last, Index{0}, result_)};
  }
  float weight(Index result, Index source) const {
    const float at = position(result);
    const Index low = static_cast<Index>(at);
    const float fraction = low + 1 < source_ ? at - static_cast<float>(low) : 0.f;
    return source == low ? 1.f - fraction : source == low + 1 ? fraction : 0.f;
  }

 private:
  float position(Index result) const { return std::max(0.f, step_ * (static_cast<float>(result) + 0.5f) - 0.5f); }

  Index source_, result_;
  float step_;
};

/// y = x, resized bilinearly from one size to another. x: (images * from.places()) x channels, y: (images *
/// to.places()) x channels. Throws Error for maps without places.
inline void resize_map(ConstMatrixView x, MapSize from, Index images, MatrixView y, MapSize to, Workspace& workspace) {
  map_places(ResizeAxis(from.height, to.height), ResizeAxis(from.width, to.width), x, from, images, y, to, workspace);
}

/// dx = the gradient of resize_map() from dy, that of y; assigned.
inline void resize_map_backward(ConstMatrixView dy, MapSize to, Index images, MatrixView dx, MapSize from,
                                Workspace& workspace) {
  map_places_adjoint(ResizeAxis(from.height, to.height), ResizeAxis(from.width, to.width), dy, to, images, dx, from,
                     workspace);
}

}  // namespace moevit
