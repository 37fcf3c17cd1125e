/// A colour for every expert.
#pragma once

#include <moevit/core/tensor.hpp>
#include <moevit/io/report/markup.hpp>

#include <array>
#include <cmath>
#include <string>

namespace moevit::report {

/// CSS colour of an expert. Up to 8 experts get the colours of Okabe and Ito (2008), which colour-blind readers can
/// tell apart; more get hues a golden angle apart at three lightnesses. Pictures also print the expert's number.
inline std::string expert_colour(Index expert, Index experts) {
  constexpr std::array<const char*, 8> okabe_ito{"#e69f00", "#56b4e9", "#009e73", "#f0e442",
                                                 "#0072b2", "#d55e00", "#cc79a7", "#999999"};
  if (experts <= std::ssize(okabe_ito)) return okabe_ito.at(static_cast<std::size_t>(expert));
  constexpr std::array<int, 3> lightness{48, 64, 78};
  const double hue = std::fmod(static_cast<double>(expert) * 137.508, 360.0);
  return join("hsl(", number(hue, 0), ",68%,", lightness[static_cast<std::size_t>(expert % 3)], "%)");
}

}  // namespace moevit::report
