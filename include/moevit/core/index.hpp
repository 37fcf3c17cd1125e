/// The type of sizes and positions.
#pragma once

#include <cstddef>

namespace moevit {

/// Sizes and positions, signed.
using Index = std::ptrdiff_t;

/// value / divisor, rounded up.
constexpr Index ceil_div(Index value, Index divisor) { return (value + divisor - 1) / divisor; }
/// The next multiple that is not below value.
constexpr Index round_up(Index value, Index multiple) { return ceil_div(value, multiple) * multiple; }

}  // namespace moevit
