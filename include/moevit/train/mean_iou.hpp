/// How well maps of classes agree with the truth: intersection over union of each class, and accuracies of pixels.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/index.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// Counts of pixels by true and predicted class, over as many images as are added.
class PixelConfusion {
 public:
  /// Pixels whose true class is `ignored` count nowhere.
  explicit PixelConfusion(Index classes, std::int32_t ignored = 255)
      : classes_(classes), ignored_(ignored), counts_(static_cast<std::size_t>(classes * classes)) {}

  /// Throws Error naming the pixel when one is of no class, and when sizes differ; then nothing was counted.
  void add(std::span<const std::int32_t> truth, std::span<const std::int32_t> prediction) {
    if (truth.size() != prediction.size())
      fail("confusion of pixels: expected a prediction of ", truth.size(), " pixels, found ", prediction.size());
    for (std::size_t pixel = 0; pixel < truth.size(); ++pixel) {
      if (truth[pixel] == ignored_) continue;
      check("true", pixel, truth[pixel]);
      check("predicted", pixel, prediction[pixel]);
    }
    for (std::size_t pixel = 0; pixel < truth.size(); ++pixel)
      if (truth[pixel] != ignored_) ++counts_[static_cast<std::size_t>(truth[pixel] * classes_ + prediction[pixel])];
  }

  Index classes() const { return classes_; }
  /// Row by row: true classes x predicted classes.
  const std::vector<std::int64_t>& counts() const { return counts_; }
  std::int64_t count(Index truth, Index predicted) const {
    return counts_[static_cast<std::size_t>(truth * classes_ + predicted)];
  }

  /// Intersection over union; -1 for a class that is neither there nor predicted.
  double iou(Index label) const {
    const std::int64_t together = true_pixels(label) + predicted_pixels(label) - count(label, label);
    return share(count(label, label), together);
  }
  /// The share of a class's pixels that were found; -1 for a class that is not there.
  double recall(Index label) const { return share(count(label, label), true_pixels(label)); }

  /// Means over the classes for which they mean something; -1 without any.
  double mean_iou() const {
    return mean([&](Index label) { return iou(label); });
  }
  double mean_accuracy() const {
    return mean([&](Index label) { return recall(label); });
  }
  /// The share of all pixels that are right; -1 without pixels.
  double pixel_accuracy() const {
    std::int64_t right = 0, all = 0;
    for (Index label = 0; label < classes_; ++label) right += count(label, label), all += true_pixels(label);
    return share(right, all);
  }

 private:
  void check(const char* which, std::size_t pixel, std::int32_t label) const {
    if (label < 0 || label >= classes_)
      fail("confusion of pixels: pixel ", pixel, ": expected a ", which, " class from 0 to ", classes_ - 1, ", found ",
           label);
  }
  std::int64_t true_pixels(Index label) const {
    std::int64_t sum = 0;
    for (Index other = 0; other < classes_; ++other) sum += count(label, other);
    return sum;
  }
  std::int64_t predicted_pixels(Index label) const {
    std::int64_t sum = 0;
    for (Index other = 0; other < classes_; ++other) sum += count(other, label);
    return sum;
  }
  static double share(std::int64_t part, std::int64_t whole) {
    return whole == 0 ? -1. : static_cast<double>(part) / static_cast<double>(whole);
  }
  template <class F>
  double mean(F value) const {
    double sum = 0;
    Index count = 0;
    for (Index label = 0; label < classes_; ++label)
      if (const double one = value(label); one >= 0) sum += one, ++count;
    return count == 0 ? -1. : sum / static_cast<double>(count);
  }

  Index classes_;
  std::int32_t ignored_;
  std::vector<std::int64_t> counts_;
};

}  // namespace moevit
