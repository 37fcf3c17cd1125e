/// Pictures in the size in which pages show them: photographs would make pages of hundreds of megabytes.
#pragma once

#include <moevit/core/map_size.hpp>
#include <moevit/io/resize.hpp>

#include <algorithm>
#include <cmath>

namespace examples::dense {

/// Pixels of the longer side at most.
inline constexpr moevit::Index page_side = 960;

/// How many times smaller an image is shown; 1 for small ones.
inline double page_scale(moevit::ImageView image) {
  return std::min(1., static_cast<double>(page_side) / static_cast<double>(std::max(image.height(), image.width())));
}

/// The size that an image gets on a page.
inline moevit::MapSize page_size(moevit::ImageView image) {
  const auto scaled = [&](moevit::Index length) {
    return std::max<moevit::Index>(1, std::lround(page_scale(image) * static_cast<double>(length)));
  };
  return {scaled(image.height()), scaled(image.width())};
}

inline moevit::Image page_picture(moevit::ImageView image) {
  const moevit::MapSize size = page_size(image);
  return moevit::resize(image, size.height, size.width, moevit::Interpolation::bilinear);
}

/// Of a mask: each number is that of the pixel under its centre.
inline moevit::Image page_mask(moevit::ImageView mask) {
  const moevit::MapSize size = page_size(mask);
  moevit::Image result(size.height, size.width, 1);
  for (moevit::Index y = 0; y < size.height; ++y)
    for (moevit::Index x = 0; x < size.width; ++x)
      result.row(y)[x] =
          mask.row((2 * y + 1) * mask.height() / (2 * size.height))[(2 * x + 1) * mask.width() / (2 * size.width)];
  return result;
}

}  // namespace examples::dense
