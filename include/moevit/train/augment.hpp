/// Random changes of training images that leave their class as it is.
#pragma once

#include <moevit/train/rand_augment.hpp>

#include <utility>
#include <vector>

namespace moevit {

/// What happens to an image, in this order. By default nothing. The usual choices for CIFAR are crop_padding 4 and
/// flip 0.5.
struct Augmentation {
  Index crop_padding = 0;  ///< pixels added on every side before a window of the old size is cut at a random place
  double flip = 0;         ///< probability that left and right change places
  Index shift = 0;         ///< moved by up to so many pixels up or down, and left or right
  Index operations = 0;    ///< N of RandAugment
  double magnitude = 9;    ///< M of RandAugment, from 0 to 10
  std::vector<ImageOperation> list{all_image_operations.begin(), all_image_operations.end()};
  std::uint8_t fill = 0;  ///< of pixels that come from outside of the image
};

/// Throws Error when the numbers make no sense.
inline void check_augmentation(const Augmentation& augmentation) {
  static constexpr Index most = 65536;
  const auto in_range = [](const char* what, Index value) {
    if (value < 0 || value > most) fail("augmentation: expected ", what, " from 0 to ", most, ", found ", value);
  };
  in_range("a crop padding", augmentation.crop_padding);
  in_range("a shift", augmentation.shift);
  in_range("a number of operations", augmentation.operations);
  if (!(augmentation.flip >= 0 && augmentation.flip <= 1))
    fail("augmentation: expected a probability of flips from 0 to 1, found ", augmentation.flip);
  if (!(augmentation.magnitude >= 0 && augmentation.magnitude <= 10))
    fail("augmentation: expected a magnitude from 0 to 10, found ", augmentation.magnitude);
  if (augmentation.operations > 0 && augmentation.list.empty()) fail("augmentation: no operations to choose from");
}

/// The image, changed at random; its size stays. The result depends on the image, the augmentation and the stream
/// alone, so RandomStream(seed, epoch, number of the image) makes it the same whenever and wherever it is computed.
inline Image augment(Image image, const Augmentation& augmentation, RandomStream& random) {
  const auto offset = [&](Index most) { return random.below(2 * most + 1) - most; };
  if (augmentation.crop_padding > 0) {
    const Index top = offset(augmentation.crop_padding), left = offset(augmentation.crop_padding);
    image = padded_window(image, {top, left, image.height(), image.width()}, augmentation.fill);
  }
  if (augmentation.flip > 0 && random.coin(augmentation.flip)) image = mirrored(image);
  if (augmentation.shift > 0) {
    const Index down = offset(augmentation.shift), right = offset(augmentation.shift);
    image = shifted(image, down, right, augmentation.fill);
  }
  return rand_augment(std::move(image), augmentation.operations, augmentation.magnitude, augmentation.list, random,
                      augmentation.fill);
}

}  // namespace moevit
