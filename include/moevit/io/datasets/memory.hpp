/// Images held in memory as 8-bit pixels: of another data set, decoded once, or the caller's.
#pragma once

#include <moevit/core/executor.hpp>
#include <moevit/io/datasets/dataset.hpp>

#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// Training reads every image many times: this decodes and resizes each of them once.
class MemoryDataset : public Dataset {
 public:
  /// All images of `source`, resized and cropped as `target` says (not normalised), read by the workers of `executor`.
  /// Throws Error as Dataset::pixels, and when `target` makes no sense.
  MemoryDataset(const Dataset& source, const Preprocessing& target, ExecutorRef executor = {})
      : images_(static_cast<std::size_t>(source.size()), Image(0, 0, 1)) {
    class_names_ = source.class_names();
    skipped_ = source.skipped();
    check_preprocessing(target);
    executor.run(source.size(), [&](Index image, Index) {
      images_[static_cast<std::size_t>(image)] = resize_and_crop(source.pixels(image), target);
    });
    for (Index image = 0; image < source.size(); ++image) {
      labels_.push_back(source.label(image));
      names_.push_back(source.name(image));
    }
  }

  /// These images; without labels when `labels` is empty. Throws Error when there are not as many labels as images.
  explicit MemoryDataset(std::vector<Image> images, std::vector<Index> labels = {})
      : images_(std::move(images)), labels_(std::move(labels)) {
    if (!labels_.empty() && labels_.size() != images_.size())
      fail("data set: ", labels_.size(), " labels for ", images_.size(), " images");
  }

  Index size() const override { return std::ssize(images_); }
  Image pixels(Index image) const override { return images_[position(image)]; }
  std::string name(Index image) const override {
    const std::size_t i = position(image);
    return names_.empty() ? "image " + std::to_string(i) : names_[i];
  }
  Index label(Index image) const override {
    const std::size_t i = position(image);
    return labels_.empty() ? -1 : labels_[i];
  }

 private:
  std::vector<Image> images_;
  std::vector<Index> labels_;
  std::vector<std::string> names_;
};

}  // namespace moevit
