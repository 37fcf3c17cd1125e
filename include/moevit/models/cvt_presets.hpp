/// The published CvT models by name. Source: Wu et al. 2021, table 2 and section 4.1.
#pragma once

#include <moevit/models/cvt.hpp>
#include <moevit/models/presets.hpp>

namespace moevit {

namespace detail {

template <ModelDescription description>
requires(description.family == ModelFamily::cvt) struct ModelOf<description> {
  using type = Cvt<description.cvt, description.moe>;
};

}  // namespace detail

namespace presets {

/// A dense CvT: Model<presets::cvt_13>.
constexpr ModelDescription cvt(CvtConfig config) {
  return {.family = ModelFamily::cvt, .moe = {.placement = no_blocks()}, .cvt = config};
}
inline constexpr ModelDescription cvt_13 = cvt({});
inline constexpr ModelDescription cvt_21 = cvt({.depths = {1, 4, 16}});
/// The wide one, for images of 384 pixels.
inline constexpr ModelDescription cvt_w24 =
    cvt({.image = 384, .depths = {2, 2, 20}, .dims = {192, 768, 1024}, .heads = {3, 12, 16}});

}  // namespace presets
}  // namespace moevit
