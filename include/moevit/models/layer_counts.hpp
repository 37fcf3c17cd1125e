/// Parameters of layers, computed from their widths alone.
#pragma once

#include <moevit/core/config.hpp>

namespace moevit::detail {

constexpr Index linear_parameters(Index inputs, Index outputs, bool bias = true) {
  return inputs * outputs + (bias ? outputs : 0);
}

/// Projection, one direction per expert, temperature.
constexpr Index cosine_router_parameters(Index dim, Index experts) {
  return linear_parameters(dim, cosine_router_width) + cosine_router_width * experts + 1;
}

}  // namespace moevit::detail
