/// From 8-bit pixels to the floats a model reads: resize, centre crop, grey or colour, normalise. Needs no decoder.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/io/image_view.hpp>
#include <moevit/io/resize.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

/// Number of floats of one preprocessed image.
inline Index float_count(const Preprocessing& target) { return target.height * target.width * target.channels; }

/// Throws Error unless the numbers make sense: sizes from 1 to 65536, 1 or 3 channels, one mean and deviation or one
/// per channel, finite, no deviation 0.
inline void check_preprocessing(const Preprocessing& target) {
  constexpr Index max_side = 65536;
  const auto is_side = [](Index side) { return side >= 1 && side <= max_side; };
  if (!is_side(target.height) || !is_side(target.width) ||
      !(target.shorter_side == 0 || is_side(target.shorter_side))) {
    fail("preprocessing: expected sides from 1 to ", max_side, ", found height ", target.height, ", width ",
         target.width, ", shorter side ", target.shorter_side);
  }
  if (target.channels != 1 && target.channels != 3) {
    fail("preprocessing: expected 1 or 3 channels, found ", target.channels);
  }
  const auto is_count = [&](std::size_t count) {
    return count == 1 || count == static_cast<std::size_t>(target.channels);
  };
  if (!is_count(target.mean.size()) || !is_count(target.deviation.size())) {
    fail("preprocessing: expected 1 or ", target.channels, " means and deviations, found ", target.mean.size(), " and ",
         target.deviation.size());
  }
  for (float mean : target.mean) {
    if (!std::isfinite(mean)) fail("preprocessing: mean ", mean, " is not finite");
  }
  for (float deviation : target.deviation) {
    if (!std::isfinite(deviation) || deviation == 0) fail("preprocessing: deviation ", deviation, " cannot divide");
  }
}

/// Brightness by ITU-R 601 in the 16-bit fixed point of Pillow's convert("L").
inline Image to_grey(ImageView image) {
  Image grey(image.height(), image.width(), 1);
  for (Index y = 0; y < image.height(); ++y) {
    const std::uint8_t* from = image.row(y);
    std::uint8_t* to = grey.row(y);
    if (image.channels() == 1) {
      std::copy_n(from, image.width(), to);
      continue;
    }
    for (Index x = 0; x < image.width(); ++x, from += 3) {
      to[x] = static_cast<std::uint8_t>((from[0] * 19595 + from[1] * 38470 + from[2] * 7471 + 0x8000) >> 16);
    }
  }
  return grey;
}

namespace detail {

/// Which pixels of one axis a centre crop keeps, and how many zeros come before them.
struct AxisCrop {
  Index first;
  Index count;
  Index padding;
};

/// torchvision's center_crop: the offset (length - crop) / 2 rounds to even; a short axis gets (crop - length) / 2
/// zeros in front, rounded down.
inline AxisCrop crop_axis(Index length, Index crop) {
  if (length <= crop) return {0, length, (crop - length) / 2};
  const Index spare = length - crop;
  const Index half = spare / 2;
  const bool round_up = spare % 2 == 1 && half % 2 == 1;
  return {half + (round_up ? 1 : 0), crop, 0};
}

/// (byte / 255 - mean) / deviation for every byte and channel.
class NormalisationTable {
 public:
  explicit NormalisationTable(const Preprocessing& target) {
    for (std::size_t channel = 0; channel < static_cast<std::size_t>(target.channels); ++channel) {
      const float mean = target.mean[std::min(channel, target.mean.size() - 1)];
      const float deviation = target.deviation[std::min(channel, target.deviation.size() - 1)];
      for (std::size_t byte = 0; byte < 256; ++byte) {
        values_[channel][byte] = (static_cast<float>(byte) / 255.0f - mean) / deviation;
      }
    }
  }
  float operator()(Index channel, std::uint8_t byte) const { return values_[static_cast<std::size_t>(channel)][byte]; }

 private:
  std::array<std::array<float, 256>, 3> values_;
};

}  // namespace detail

/// Cuts target.height x target.width from the centre of an image that already has its size, pads it with 0 where it is
/// smaller, and normalises: float_count(target) floats into `out`, rows x columns x channels. A grey image fills three
/// channels alike; a colour image for a grey model becomes grey here.
/// Throws Error when `out` is too short or `target` makes no sense.
inline void crop_and_normalise(ImageView image, const Preprocessing& target, std::span<float> out) {
  check_preprocessing(target);
  if (static_cast<Index>(out.size()) < float_count(target)) {
    fail("preprocess: expected room for ", target.height, " x ", target.width, " x ", target.channels, " = ",
         float_count(target), " floats, found ", out.size());
  }
  if (image.channels() == 3 && target.channels == 1) return crop_and_normalise(to_grey(image), target, out);
  const detail::AxisCrop rows = detail::crop_axis(image.height(), target.height);
  const detail::AxisCrop columns = detail::crop_axis(image.width(), target.width);
  const detail::NormalisationTable table(target);
  const Index repeat = image.channels() == 1 ? 0 : 1;  // a grey pixel is read again for every channel
  float* value = out.data();
  for (Index y = 0; y < target.height; ++y) {
    const bool in_rows = y >= rows.padding && y < rows.padding + rows.count;
    const std::uint8_t* row = in_rows ? image.row(rows.first + y - rows.padding) : nullptr;
    for (Index x = 0; x < target.width; ++x) {
      const bool inside = in_rows && x >= columns.padding && x < columns.padding + columns.count;
      const std::uint8_t* pixel = inside ? row + (columns.first + x - columns.padding) * image.channels() : nullptr;
      for (Index channel = 0; channel < target.channels; ++channel) {
        *value++ = table(channel, inside ? pixel[channel * repeat] : std::uint8_t{0});
      }
    }
  }
}

/// Height and width to which `target` resizes an image of this size, before the crop.
inline std::pair<Index, Index> resized_size(Index height, Index width, const Preprocessing& target) {
  if (target.shorter_side == 0) return {target.height, target.width};
  const Index shorter = std::min(height, width);
  return {target.shorter_side * height / shorter, target.shorter_side * width / shorter};
}

/// Resize and centre crop of `target`, still as 8-bit pixels: target.height x target.width, or smaller along an axis
/// where the resized image is. Colour becomes grey, before the resize, when target has one channel.
/// Throws Error when `target` makes no sense.
inline Image resize_and_crop(ImageView image, const Preprocessing& target) {
  check_preprocessing(target);
  if (image.channels() == 3 && target.channels == 1) return resize_and_crop(to_grey(image), target);
  const auto [height, width] = resized_size(image.height(), image.width(), target);
  const detail::AxisCrop rows = detail::crop_axis(height, target.height);
  const detail::AxisCrop columns = detail::crop_axis(width, target.width);
  const ImageWindow kept{rows.first, columns.first, rows.count, columns.count};
  return resize_window(image, height, width, kept, target.interpolation);
}

/// What `target` says, from 8-bit pixels to float_count(target) floats in `out`: rows x columns x channels.
/// Resize and crop are those of Pillow and torchvision, to the byte; colour becomes grey before the resize.
/// Throws Error when `out` is too short or `target` makes no sense.
inline void preprocess(ImageView image, const Preprocessing& target, std::span<float> out) {
  crop_and_normalise(resize_and_crop(image, target), target, out);
}

}  // namespace moevit
