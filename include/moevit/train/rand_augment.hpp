/// RandAugment (Cubuk et al. 2020): operations drawn from a list, all of one magnitude.
#pragma once

#include <moevit/train/image_colours.hpp>
#include <moevit/train/image_geometry.hpp>
#include <moevit/train/random.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

namespace moevit {

/// What may be done to an image. In brackets: what the strength is, and how far it goes at magnitude 10.
enum class ImageOperation : unsigned char {
  identity,
  auto_contrast,  ///< (none)
  equalise,       ///< (none)
  rotate,         ///< (degrees, +-30)
  solarise,       ///< (threshold, 256 down to 0)
  colour,         ///< (factor, 1 +- 0.9)
  posterise,      ///< (bits that stay, 8 down to 4)
  contrast,       ///< (factor, 1 +- 0.9)
  brightness,     ///< (factor, 1 +- 0.9)
  sharpness,      ///< (factor, 1 +- 0.9)
  shear_x,        ///< (columns per row, +-0.3)
  shear_y,        ///< (rows per column, +-0.3)
  translate_x,    ///< (share of the width, +-0.45)
  translate_y     ///< (share of the height, +-0.45)
};

/// The fourteen operations of the paper.
inline constexpr std::array<ImageOperation, 14> all_image_operations{
    ImageOperation::identity,    ImageOperation::auto_contrast, ImageOperation::equalise,  ImageOperation::rotate,
    ImageOperation::solarise,    ImageOperation::colour,        ImageOperation::posterise, ImageOperation::contrast,
    ImageOperation::brightness,  ImageOperation::sharpness,     ImageOperation::shear_x,   ImageOperation::shear_y,
    ImageOperation::translate_x, ImageOperation::translate_y};

/// Those of them that leave every pixel where it is, so that masks and boxes still fit.
inline constexpr std::array<ImageOperation, 9> colour_operations{
    ImageOperation::identity, ImageOperation::auto_contrast, ImageOperation::equalise,
    ImageOperation::solarise, ImageOperation::colour,        ImageOperation::posterise,
    ImageOperation::contrast, ImageOperation::brightness,    ImageOperation::sharpness};

/// How strong an operation is at a magnitude from 0 (no change, where there is a strength) to 10; `sign` is 1 or -1 and
/// counts where ImageOperation says +-. Every operation grows with the magnitude, unlike in the paper's own code.
inline double operation_strength(ImageOperation operation, double magnitude, int sign) {
  const double part = magnitude / 10, signed_part = sign * part;
  switch (operation) {
    case ImageOperation::rotate:
      return 30 * signed_part;
    case ImageOperation::solarise:
      return 256 - std::round(256 * part);
    case ImageOperation::posterise:
      return 8 - std::round(4 * part);
    case ImageOperation::colour:
    case ImageOperation::contrast:
    case ImageOperation::brightness:
    case ImageOperation::sharpness:
      return 1 + 0.9 * signed_part;
    case ImageOperation::shear_x:
    case ImageOperation::shear_y:
      return 0.3 * signed_part;
    case ImageOperation::translate_x:
    case ImageOperation::translate_y:
      return 0.45 * signed_part;
    case ImageOperation::identity:
    case ImageOperation::auto_contrast:
    case ImageOperation::equalise:
      break;
  }
  return 0;
}

/// The image after an operation of the strength that ImageOperation explains; the size stays. Rotations, shears and
/// translations leave `fill` where nothing comes from. Throws Error when the strength makes no sense.
inline Image apply_operation(ImageView image, ImageOperation operation, double strength, std::uint8_t fill = 0) {
  switch (operation) {
    case ImageOperation::auto_contrast:
      return auto_contrast(image);
    case ImageOperation::equalise:
      return equalise(image);
    case ImageOperation::rotate:
      return rotated(image, strength, fill);
    case ImageOperation::solarise:
      return solarise(image, static_cast<Index>(strength));
    case ImageOperation::colour:
      return with_colour(image, strength);
    case ImageOperation::posterise:
      return posterise(image, static_cast<int>(strength));
    case ImageOperation::contrast:
      return with_contrast(image, strength);
    case ImageOperation::brightness:
      return with_brightness(image, strength);
    case ImageOperation::sharpness:
      return with_sharpness(image, strength);
    case ImageOperation::shear_x:
      return transformed(image, {.xy = strength}, fill);
    case ImageOperation::shear_y:
      return transformed(image, {.yx = strength}, fill);
    case ImageOperation::translate_x:
      return shifted(image, 0, std::lround(strength * static_cast<double>(image.width())), fill);
    case ImageOperation::translate_y:
      return shifted(image, std::lround(strength * static_cast<double>(image.height())), 0, fill);
    case ImageOperation::identity:
      break;
  }
  return shifted(image, 0, 0);
}

/// `count` operations after each other, drawn from the list with replacement, each with a random sign.
inline Image rand_augment(Image image, Index count, double magnitude, std::span<const ImageOperation> list,
                          RandomStream& random, std::uint8_t fill = 0) {
  for (Index i = 0; i < count; ++i) {
    const ImageOperation operation = list[static_cast<std::size_t>(random.below(std::ssize(list)))];
    const int sign = random.coin(0.5) ? 1 : -1;
    if (operation == ImageOperation::identity) continue;
    image = apply_operation(image, operation, operation_strength(operation, magnitude, sign), fill);
  }
  return image;
}

}  // namespace moevit
