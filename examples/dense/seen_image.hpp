/// An image in the two sizes that it has: its own, and that in which a model sees it.
#pragma once

#include "common/image_list.hpp"
#include "dense/flags.hpp"

#include <moevit/io/preprocess.hpp>
#include <moevit/models/boxes.hpp>

#include <string>
#include <utility>
#include <vector>

namespace examples::dense {

struct SeenImage {
  std::string name;
  moevit::Image original;
  moevit::MapSize seen;       ///< the size in which the model sees it, whole
  std::vector<float> values;  ///< of that, normalised

  moevit::MapSize size() const { return {original.height(), original.width()}; }
  /// From pixels of what the model sees to those of the image.
  moevit::Box original_box(const moevit::Box& box) const {
    const double x_scale = static_cast<double>(size().width) / static_cast<double>(seen.width);
    const double y_scale = static_cast<double>(size().height) / static_cast<double>(seen.height);
    return {box.x * x_scale, box.y * y_scale, box.width * x_scale, box.height * y_scale};
  }
};

/// The size in which the model sees an image: resized as in training, but not cropped, unless the flags say otherwise.
inline moevit::MapSize seen_size(moevit::MapSize image, const moevit::Preprocessing& training,
                                 const DenseFlags& flags) {
  if (flags.shorter_side == 0) return image;
  moevit::Preprocessing target = training;
  if (flags.shorter_side > 0) target.shorter_side = flags.shorter_side;
  const auto [height, width] = moevit::resized_size(image.height, image.width, target);
  return {height, width};
}

/// Reads an image and makes it what the model sees. Throws moevit::Error naming it.
inline SeenImage see_image(const ImageList& images, moevit::Index number, const moevit::Preprocessing& training,
                           const DenseFlags& flags) {
  SeenImage image{images.name(number), images.pixels(number), {}, {}};
  image.seen = seen_size(image.size(), training, flags);
  if (image.seen.height > flags.most_pixels / image.seen.width)
    moevit::fail(image.name, ": the model would see its ", image.size().width, " x ", image.size().height,
                 " pixels as ", image.seen.width, " x ", image.seen.height, ", the limit is ", flags.most_pixels,
                 " pixels (--most-pixels); --shorter-side says to what images are resized");
  moevit::Preprocessing target = training;
  target.height = image.seen.height, target.width = image.seen.width, target.shorter_side = 0;
  image.values.resize(static_cast<std::size_t>(moevit::float_count(target)));
  moevit::preprocess(image.original, target, image.values);
  return image;
}

}  // namespace examples::dense
