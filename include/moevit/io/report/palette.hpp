/// A colour for every expert and for every class.
#pragma once

#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>

namespace moevit::report {

/// Red, green, blue.
using Rgb = std::array<std::uint8_t, 3>;

/// #rrggbb
inline std::string css(const Rgb& colour) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", unsigned{colour[0]}, unsigned{colour[1]}, unsigned{colour[2]});
  return text;
}

/// Hue in degrees from 0 to below 360, saturation and lightness from 0 to 1, as CSS defines hsl().
inline Rgb from_hsl(double hue, double saturation, double lightness) {
  const double strength = saturation * std::min(lightness, 1 - lightness);
  const auto channel = [&](double offset) {
    const double k = std::fmod(offset + hue / 30, 12.);
    const double value = lightness - strength * std::max(-1., std::min({k - 3, 9 - k, 1.}));
    return static_cast<std::uint8_t>(std::lround(255 * value));
  };
  return {channel(0), channel(8), channel(4)};
}

/// The colour of one of `count` things. Up to 8 get the colours of Okabe and Ito (2008), which colour-blind readers can
/// tell apart; more get hues a golden angle apart at three lightnesses. Pictures also print numbers or names.
inline Rgb colour_of(Index number, Index count) {
  constexpr std::array<Rgb, 8> okabe_ito{{{0xe6, 0x9f, 0x00},
                                          {0x56, 0xb4, 0xe9},
                                          {0x00, 0x9e, 0x73},
                                          {0xf0, 0xe4, 0x42},
                                          {0x00, 0x72, 0xb2},
                                          {0xd5, 0x5e, 0x00},
                                          {0xcc, 0x79, 0xa7},
                                          {0x99, 0x99, 0x99}}};
  if (count <= std::ssize(okabe_ito)) return okabe_ito.at(static_cast<std::size_t>(number));
  constexpr std::array<double, 3> lightness{0.48, 0.64, 0.78};
  return from_hsl(std::fmod(static_cast<double>(number) * 137.508, 360.), 0.68,
                  lightness[static_cast<std::size_t>(number % 3)]);
}

/// CSS colour of an expert.
inline std::string expert_colour(Index expert, Index experts) { return css(colour_of(expert, experts)); }

}  // namespace moevit::report
