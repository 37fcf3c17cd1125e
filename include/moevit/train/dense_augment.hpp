/// Random changes of training images that take a mask of classes, or boxes, along with the pixels.
#pragma once

#include <moevit/core/preprocessing.hpp>
#include <moevit/io/preprocess.hpp>
#include <moevit/models/boxes.hpp>
#include <moevit/train/rand_augment.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

/// Where the window of the model's size lies in an image that is larger, or the image in a window that is larger.
enum class WindowPlace : unsigned char { centre, random };

/// What happens to an image and what is known of its pixels, in this order. By default nothing.
struct DenseAugmentation {
  /// Both sides of the resized image are multiplied by a random number between these; then a window of the model's size
  /// is cut, or the image is padded to it.
  double min_scale = 1;
  double max_scale = 1;
  WindowPlace place = WindowPlace::centre;
  double flip = 0;       ///< probability that left and right change places
  Index operations = 0;  ///< N of RandAugment, of the image only
  double magnitude = 9;  ///< M of RandAugment, from 0 to 10
  std::vector<ImageOperation> list{colour_operations.begin(), colour_operations.end()};
  double kept_area = 0.25;  ///< boxes of which a smaller share lies in the window are dropped
  std::uint8_t fill = 0;    ///< of pixels that come from outside of the image
};

/// Throws Error when the numbers make no sense, and for operations that move pixels.
inline void check_augmentation(const DenseAugmentation& augmentation) {
  static constexpr double most_scale = 16;
  const auto in_range = [](const char* what, double value, double low, double high) {
    if (!(value >= low && value <= high))
      fail("augmentation: expected ", what, " from ", low, " to ", high, ", found ", value);
  };
  in_range("a largest scale", augmentation.max_scale, 1 / most_scale, most_scale);
  in_range("a smallest scale", augmentation.min_scale, 1 / most_scale, augmentation.max_scale);
  in_range("a probability of flips", augmentation.flip, 0, 1);
  in_range("a number of operations", static_cast<double>(augmentation.operations), 0, 65536);
  in_range("a magnitude", augmentation.magnitude, 0, 10);
  in_range("a share of boxes", augmentation.kept_area, 0, 1);
  if (augmentation.operations > 0 && augmentation.list.empty()) fail("augmentation: no operations to choose from");
  for (const ImageOperation operation : augmentation.list)
    if (std::find(colour_operations.begin(), colour_operations.end(), operation) == colour_operations.end())
      fail("augmentation: operation ", static_cast<int>(operation), " moves pixels; expected those of colours only");
}

/// How an image of source_height x source_width comes into a window: resized to height x width, of which the window is
/// cut, which may reach beyond it; perhaps mirrored then.
struct ImagePlacement {
  Index source_height = 0, source_width = 0;
  Index height = 0, width = 0;
  ImageWindow window;
  bool is_mirrored = false;
};

namespace detail {

/// The first row or column of the window in the resized image; below 0 where that is smaller.
inline Index window_start(Index length, Index window, WindowPlace place, RandomStream& random) {
  if (place == WindowPlace::random) {
    const Index offset = random.below(std::abs(length - window) + 1);
    return length < window ? -offset : offset;
  }
  const AxisCrop crop = crop_axis(length, window);
  return crop.first - crop.padding;
}

/// The part of the window that lies in the resized image.
inline ImageWindow inner_window(const ImagePlacement& placement) {
  const ImageWindow& window = placement.window;
  const Index top = std::max<Index>(window.top, 0), left = std::max<Index>(window.left, 0);
  return {top, left, std::min(window.top + window.height, placement.height) - top,
          std::min(window.left + window.width, placement.width) - left};
}

}  // namespace detail

/// A placement for an image of this size, as `target` (its size and shorter_side) and the augmentation say. Without
/// randomness it is that of resize_and_crop.
inline ImagePlacement draw_placement(Index height, Index width, const Preprocessing& target,
                                     const DenseAugmentation& augmentation, RandomStream& random) {
  const auto [base_height, base_width] = resized_size(height, width, target);
  const bool is_scaled = augmentation.min_scale != 1 || augmentation.max_scale != 1;
  const double scale = is_scaled ? random.uniform(augmentation.min_scale, augmentation.max_scale) : 1;
  const auto scaled = [&](Index length) {
    return std::max<Index>(1, std::llround(static_cast<double>(length) * scale));
  };
  ImagePlacement placement{height, width, scaled(base_height), scaled(base_width), {}, false};
  placement.window = {detail::window_start(placement.height, target.height, augmentation.place, random),
                      detail::window_start(placement.width, target.width, augmentation.place, random), target.height,
                      target.width};
  placement.is_mirrored = augmentation.flip > 0 && random.coin(augmentation.flip);
  return placement;
}

/// The pixels in the window; `fill` beyond the image.
inline Image place_image(ImageView image, const ImagePlacement& placement, Interpolation interpolation,
                         std::uint8_t fill = 0) {
  const ImageWindow inner = detail::inner_window(placement), &window = placement.window;
  const Image part = resize_window(image, placement.height, placement.width, inner, interpolation);
  const Image result =
      padded_window(part, {window.top - inner.top, window.left - inner.left, window.height, window.width}, fill);
  return placement.is_mirrored ? mirrored(result) : result;
}

/// Numbers of one channel in the window: each is the number of the pixel under its centre; `ignored` beyond the image.
inline Image place_mask(ImageView mask, const ImagePlacement& placement, std::uint8_t ignored) {
  const ImageWindow inner = detail::inner_window(placement), &window = placement.window;
  Image result = padded_window(mask, {mask.height(), 0, window.height, window.width}, ignored);  // nothing of the mask
  for (Index y = inner.top; y < inner.top + inner.height; ++y) {
    const std::uint8_t* from = mask.row((2 * y + 1) * mask.height() / (2 * placement.height));
    std::uint8_t* to = result.row(y - window.top);
    for (Index x = inner.left; x < inner.left + inner.width; ++x)
      to[x - window.left] = from[(2 * x + 1) * mask.width() / (2 * placement.width)];
  }
  return placement.is_mirrored ? mirrored(result) : result;
}

/// A box of the image in pixels of the window, which it may leave.
inline Box place_box(const Box& box, const ImagePlacement& placement) {
  const double x_scale = static_cast<double>(placement.width) / static_cast<double>(placement.source_width);
  const double y_scale = static_cast<double>(placement.height) / static_cast<double>(placement.source_height);
  Box placed{box.x * x_scale - static_cast<double>(placement.window.left),
             box.y * y_scale - static_cast<double>(placement.window.top), box.width * x_scale, box.height * y_scale};
  if (placement.is_mirrored) placed.x = static_cast<double>(placement.window.width) - placed.right();
  return placed;
}

/// The other way: where a box of the window lies in the image, for detections.
inline Box original_box(const Box& box, const ImagePlacement& placement) {
  const double x_scale = static_cast<double>(placement.source_width) / static_cast<double>(placement.width);
  const double y_scale = static_cast<double>(placement.source_height) / static_cast<double>(placement.height);
  const double x = placement.is_mirrored ? static_cast<double>(placement.window.width) - box.right() : box.x;
  return {(x + static_cast<double>(placement.window.left)) * x_scale,
          (box.y + static_cast<double>(placement.window.top)) * y_scale, box.width * x_scale, box.height * y_scale};
}

/// Puts what the window shows of the objects into `placed`, whose memory is used again: boxes and areas cut, and left
/// out when less than `kept_area` of a box is in the window, or nothing.
inline void place_objects(std::span<const TrueBox> objects, const ImagePlacement& placement, double kept_area,
                          std::vector<TrueBox>& placed) {
  placed.clear();
  const Box window{0, 0, static_cast<double>(placement.window.width), static_cast<double>(placement.window.height)};
  for (TrueBox object : objects) {
    const Box whole = place_box(object.box, placement), seen = intersection(whole, window);
    const double share = seen.area() / whole.area();
    if (!(share > 0 && share >= kept_area)) continue;
    object.area *= seen.area() / object.box.area();
    object.box = seen;
    placed.push_back(object);
  }
}

}  // namespace moevit
