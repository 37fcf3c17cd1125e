/// Adaptive average pooling of feature maps.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/layers/separable_map.hpp>

namespace moevit {

/// Averages along an axis: result r is the mean of places floor(r S / R) to ceil((r + 1) S / R) of S sources for R
/// results, as PyTorch's adaptive average pooling has it. These may overlap.
class PoolingAxis {
 public:
  PoolingAxis(Index source, Index result) : source_(source), result_(result) {
    if (source < 1 || result < 1)
      fail("pooling a map: expected at least 1 place on each side and 1 result, found ", source, " and ", result);
  }

  AxisRange sources(Index result) const {
    return {result * source_ / result_, ceil_div((result + 1) * source_, result_)};
  }
  AxisRange results(Index source) const {
    return {source * result_ / source_, ceil_div((source + 1) * result_, source_)};
  }
  float weight(Index result, Index source) const {
    const AxisRange own = sources(result);
    const bool is_inside = source >= own.first && source < own.last;
    return is_inside ? 1.f / static_cast<float>(own.last - own.first) : 0.f;
  }

 private:
  Index source_, result_;
};

/// y = means of x over to.height x to.width windows, nearly equal, that cover each map. x: (images * from.places()) x
/// channels, y: (images * to.places()) x channels. Throws Error for maps without places.
inline void pool_map(ConstMatrixView x, MapSize from, Index images, MatrixView y, MapSize to, Workspace& workspace) {
  map_places(PoolingAxis(from.height, to.height), PoolingAxis(from.width, to.width), x, from, images, y, to, workspace);
}

/// dx = the gradient of pool_map() from dy, that of y; assigned.
inline void pool_map_backward(ConstMatrixView dy, MapSize to, Index images, MatrixView dx, MapSize from,
                              Workspace& workspace) {
  map_places_adjoint(PoolingAxis(from.height, to.height), PoolingAxis(from.width, to.width), dy, to, images, dx, from,
                     workspace);
}

}  // namespace moevit
