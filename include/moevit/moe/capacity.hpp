/// How many slots an expert has in a group of tokens.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/error.hpp>

#include <limits>

namespace moevit {

/// "As many slots as can be asked for": nothing is ever dropped.
inline constexpr double unlimited = std::numeric_limits<double>::infinity();

/// The number of slots per expert for `choices` choices (tokens x k; tokens for expert choice) of one group at a
/// capacity ratio. ceil, then up to a multiple of 4, is what V-MoE's code does; round (halves to even) what its paper
/// says. `multiple` 0 or 1: no change. Throws Error when the capacity is below 1 before it goes up to the multiple.
/// Source: V-MoE, compute_capacity.
constexpr Index compute_capacity(Index choices, Index experts, double ratio,
                                 CapacityRounding rounding = CapacityRounding::ceil, Index multiple = 4) {
  const double exact = static_cast<double>(choices) * ratio / static_cast<double>(experts);
  const Index whole = exact > 0 && exact < 1e15 ? static_cast<Index>(exact) : 0;
  const double rest = exact - static_cast<double>(whole);
  const bool up = rounding == CapacityRounding::ceil ? rest > 0 : rest > 0.5 || (rest == 0.5 && whole % 2 == 1);
  const Index capacity = whole + (up ? 1 : 0);
  if (!(exact > 0) || exact >= 1e15 || capacity < 1)
    fail("expert capacity: expected at least 1 slot, found ", exact, " before rounding for ", choices, " choices, ",
         experts, " experts and capacity ratio ", ratio);
  return multiple > 1 ? round_up(capacity, multiple) : capacity;
}

}  // namespace moevit
