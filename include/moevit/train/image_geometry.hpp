/// Crops, mirroring, shifts, rotations and shears of 8-bit images, without smoothing.
#pragma once

#include <moevit/io/image_view.hpp>
#include <moevit/io/resize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace moevit {

/// A window that may reach beyond the image, where all channels are `fill`. Throws Error when it has no pixels.
inline Image padded_window(ImageView image, const ImageWindow& window, std::uint8_t fill = 0) {
  if (window.height < 1 || window.width < 1)
    fail("crop: a window of ", window.height, " x ", window.width, " pixels has no content");
  Image result(window.height, window.width, image.channels());
  const Index first = std::clamp(-window.left, Index{0}, window.width);  // columns of the window inside of the image
  const Index last = std::clamp(image.width() - window.left, first, window.width);
  for (Index y = 0; y < window.height; ++y) {
    std::uint8_t* out = result.row(y);
    std::fill_n(out, result.width() * image.channels(), fill);
    if (window.top + y < 0 || window.top + y >= image.height() || first == last) continue;
    const std::uint8_t* in = image.row(window.top + y) + (window.left + first) * image.channels();
    std::copy_n(in, (last - first) * image.channels(), out + first * image.channels());
  }
  return result;
}

/// The content moved down and right, or up and left by negative numbers of pixels; `fill` where nothing comes from.
inline Image shifted(ImageView image, Index down, Index right, std::uint8_t fill = 0) {
  return padded_window(image, {-down, -right, image.height(), image.width()}, fill);
}

/// Left and right exchanged.
inline Image mirrored(ImageView image) {
  Image result(image.height(), image.width(), image.channels());
  for (Index y = 0; y < image.height(); ++y)
    for (Index x = 0; x < image.width(); ++x)
      std::copy_n(image.row(y) + x * image.channels(), image.channels(),
                  result.row(y) + (image.width() - 1 - x) * image.channels());
  return result;
}

/// Where a pixel comes from: x' = xx x + xy y + x0, y' = yx x + yy y + y0, between centres of pixels, which lie at
/// halves. As PIL's Image.transform(AFFINE) has its six numbers.
struct AffineMap {
  double xx = 1, xy = 0, x0 = 0;
  double yx = 0, yy = 1, y0 = 0;
};

/// Every pixel is the one that the map leads to, `fill` outside of the image. Coordinates have 16 binary places, so
/// that the result does not depend on how a compiler rounds.
inline Image transformed(ImageView image, const AffineMap& map, std::uint8_t fill = 0) {
  constexpr int places = 16;
  const auto fixed = [](double value) { return static_cast<Index>(std::llround(value * (1 << places))); };
  const Index xx = fixed(map.xx), xy = fixed(map.xy), yx = fixed(map.yx), yy = fixed(map.yy);
  const Index x0 = fixed(map.x0 + (map.xx + map.xy) / 2), y0 = fixed(map.y0 + (map.yx + map.yy) / 2);
  Image result(image.height(), image.width(), image.channels());
  for (Index y = 0; y < image.height(); ++y)
    for (Index x = 0; x < image.width(); ++x) {
      std::uint8_t* out = result.row(y) + x * image.channels();
      const Index from_x = (xx * x + xy * y + x0) >> places, from_y = (yx * x + yy * y + y0) >> places;
      const bool inside = from_x >= 0 && from_x < image.width() && from_y >= 0 && from_y < image.height();
      if (inside)
        std::copy_n(image.row(from_y) + from_x * image.channels(), image.channels(), out);
      else
        std::fill_n(out, image.channels(), fill);
    }
  return result;
}

/// Turned around the centre, counter-clockwise by positive degrees.
inline Image rotated(ImageView image, double degrees, std::uint8_t fill = 0) {
  const double angle = degrees * std::numbers::pi / 180, cosine = std::cos(angle), sine = std::sin(angle);
  const double x = static_cast<double>(image.width()) / 2, y = static_cast<double>(image.height()) / 2;
  return transformed(image, {cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y}, fill);
}

}  // namespace moevit
