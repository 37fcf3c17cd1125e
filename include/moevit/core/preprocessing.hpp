/// What an image goes through before a model sees it.
#pragma once

#include <moevit/core/tensor.hpp>

#include <vector>

namespace moevit {

/// The filter of a resize, as Pillow has it.
enum class Interpolation : unsigned char { bilinear, bicubic };

/// Resize, centre crop, normalise: x = (byte / 255 - mean) / deviation, rows x columns x channels.
struct Preprocessing {
  Index height = 224;
  Index width = 224;
  Index channels = 3;  ///< 1: grey; 3: red, green, blue
  /// The shorter side is resized to this, the longer one in proportion (rounded down), then height x width is cut from
  /// the centre and padded with 0 where the image is smaller. 0: resized to exactly height x width.
  Index shorter_side = 0;
  Interpolation interpolation = Interpolation::bicubic;
  std::vector<float> mean = {0.5f};       ///< one value, or one per channel
  std::vector<float> deviation = {0.5f};  ///< one value, or one per channel; never 0

  bool operator==(const Preprocessing&) const = default;
};

}  // namespace moevit
