/// Loaders of segmentation and detection: images with what is known of their pixels, augmented together.
#pragma once

#include <moevit/io/datasets/segmentation.hpp>
#include <moevit/train/dense_augment.hpp>
#include <moevit/train/loader.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace moevit {
namespace detail {

/// What both tasks do with the pixels.
class DenseTask {
 public:
  using Augmentation = DenseAugmentation;

  DenseTask(Preprocessing target, Augmentation augmentation)
      : target_(std::move(target)), augmentation_(std::move(augmentation)) {
    check_preprocessing(target_);
    check_augmentation(augmentation_);
  }

  Index values() const { return float_count(target_); }

 protected:
  /// Fills the floats of an image and returns where its pixels went.
  ImagePlacement read_pixels(const Image& pixels, RandomStream& random, std::span<float> image) const {
    if (pixels.channels() == 3 && target_.channels == 1) return read_pixels(to_grey(pixels), random, image);
    const ImagePlacement placement = draw_placement(pixels.height(), pixels.width(), target_, augmentation_, random);
    Image placed = place_image(pixels, placement, target_.interpolation, augmentation_.fill);
    placed = rand_augment(std::move(placed), augmentation_.operations, augmentation_.magnitude, augmentation_.list,
                          random, augmentation_.fill);
    crop_and_normalise(placed, target_, image);
    return placement;
  }

  Preprocessing target_;
  Augmentation augmentation_;
};

/// One label per pixel of the model's input, row by row; what lies beyond the image is ignored.
class SegmentationTask : public DenseTask {
 public:
  using Data = SegmentationDataset;
  using Label = std::int32_t;

  SegmentationTask(const Data& dataset, Preprocessing target, Augmentation augmentation)
      : DenseTask(std::move(target), std::move(augmentation)), dataset_(dataset) {}

  Index labels() const { return target_.height * target_.width; }

  void read(Index number, RandomStream& random, std::span<float> image, std::span<std::int32_t> labels) const {
    const auto [pixels, mask] = dataset_.pixels_and_mask(number);
    const ImagePlacement placement = read_pixels(pixels, random, image);
    const Image placed = place_mask(mask, placement, dataset_.ignored());
    std::copy(placed.pixels().begin(), placed.pixels().end(), labels.begin());
  }

 private:
  const Data& dataset_;
};

/// One list of objects per image, boxes in pixels of the model's input.
class DetectionTask : public DenseTask {
 public:
  using Data = DetectionDataset;
  using Label = std::vector<TrueBox>;

  DetectionTask(const Data& dataset, Preprocessing target, Augmentation augmentation)
      : DenseTask(std::move(target), std::move(augmentation)), dataset_(dataset) {}

  static constexpr Index labels() { return 1; }

  void read(Index number, RandomStream& random, std::span<float> image, std::span<Label> objects) const {
    const ImagePlacement placement = read_pixels(dataset_.pixels(number), random, image);
    place_objects(dataset_.objects(number), placement, augmentation_.kept_area, objects.front());
  }

 private:
  const Data& dataset_;
};

}  // namespace detail

/// Batches of images and the classes of their pixels: labels are N x height x width.
using SegmentationLoader = BasicLoader<detail::SegmentationTask>;
/// Batches of images and their objects: labels are N lists.
using DetectionLoader = BasicLoader<detail::DetectionTask>;
using DenseLoaderOptions = SegmentationLoader::Options;

}  // namespace moevit
