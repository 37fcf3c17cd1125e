/// Losses of semantic segmentation over pixels, with gradients to the logits: cross-entropy and soft Dice (Milletari et
/// al. 2016), or a sum of both.
#pragma once

#include <moevit/train/classification_losses.hpp>

namespace moevit {

/// Options of segmentation_loss. Losses with weight 0 are not computed.
struct SegmentationLossOptions {
  double cross_entropy = 1;                   ///< weight
  double dice = 0;                            ///< weight
  std::int32_t ignored = 255;                 ///< label of pixels that count nowhere
  std::span<const float> class_weights = {};  ///< one per class, of the cross-entropy; empty: 1
  double smooth = 1;                          ///< Dice: added above and below, so that absent classes have loss 0
  bool squared = false;                       ///< Dice: sum p^2 + sum t^2 below instead of sum p + sum t
  Index images = 1;                           ///< Dice: mean over so many images of equal size; 1: all pixels together
};

namespace detail {

/// Sums of the Dice loss of one class over a set of pixels: 1 - (2 overlap + smooth) / (mass + smooth).
struct DiceSums {
  double overlap = 0, mass = 0;
};

class SegmentationLoss {
 public:
  SegmentationLoss(ConstMatrixView logits, std::span<const std::int32_t> labels, const SegmentationLossOptions& options)
      : logits_(logits), labels_(labels), options_(options), probabilities_(static_cast<std::size_t>(logits.cols())) {
    require_finite("segmentation loss", logits);
    if (std::ssize(labels) != logits.rows())
      fail("segmentation loss: expected ", logits.rows(), " labels, found ", labels.size());
    for (std::size_t pixel = 0; pixel < labels.size(); ++pixel)
      if (labels[pixel] != options.ignored && (labels[pixel] < 0 || labels[pixel] >= logits.cols()))
        fail("segmentation loss: pixel ", pixel, ": expected a label from 0 to ", logits.cols() - 1, " or ",
             options.ignored, ", which is ignored, found ", labels[pixel]);
    if (!options.class_weights.empty() && std::ssize(options.class_weights) != logits.cols())
      fail("segmentation loss: expected ", logits.cols(), " class weights, found ", options.class_weights.size());
    if (options.images < 1 || logits.rows() % options.images != 0)
      fail("segmentation loss: expected pixels of ", options.images, " images of equal size, found ", logits.rows());
    accumulate();
  }

  double cross_entropy() const { return weight_sum_ > 0 ? entropy_ / weight_sum_ : 0.; }

  /// The loss of each class in each image, image by image.
  std::vector<double> dice() const {
    std::vector<double> losses;
    for (const DiceSums& sums : sums_)
      losses.push_back(1. - (2. * sums.overlap + options_.smooth) / (sums.mass + options_.smooth));
    return losses;
  }

  void gradient(MatrixView d_logits) {
    require_same_shape("gradient of the segmentation loss", logits_, d_logits);
    const Index pixels = logits_.rows() / options_.images, classes = logits_.cols();
    std::vector<double> d(static_cast<std::size_t>(classes));
    for (Index pixel = 0; pixel < logits_.rows(); ++pixel) {
      std::fill_n(d_logits.row_data(pixel), classes, 0.f);
      if (is_ignored(pixel)) continue;
      softmax(pixel);
      std::fill(d.begin(), d.end(), 0.);
      if (options_.dice != 0) add_dice_gradient(pixel, sums_.data() + pixel / pixels * classes, d);
      if (options_.cross_entropy != 0) add_cross_entropy_gradient(pixel, d);
      for (Index i = 0; i < classes; ++i) d_logits(pixel, i) = static_cast<float>(d[static_cast<std::size_t>(i)]);
    }
  }

 private:
  /// The sums that losses and gradient are made of.
  void accumulate() {
    const Index pixels = logits_.rows() / options_.images, classes = logits_.cols();
    sums_.assign(static_cast<std::size_t>(options_.images * classes), {});
    for (Index pixel = 0; pixel < logits_.rows(); ++pixel) {
      if (is_ignored(pixel)) continue;
      const double log_sum = softmax(pixel), weight = weight_of(label(pixel));
      entropy_ += weight * (log_sum - static_cast<double>(logits_(pixel, label(pixel))));
      weight_sum_ += weight;
      DiceSums* sums = sums_.data() + pixel / pixels * classes;
      for (Index i = 0; i < classes; ++i) {
        const double p = probability(i), t = label(pixel) == i;
        sums[i].overlap += p * t;
        sums[i].mass += (options_.squared ? p * p : p) + t;
      }
    }
  }
  Index label(Index pixel) const { return labels_[static_cast<std::size_t>(pixel)]; }
  bool is_ignored(Index pixel) const { return label(pixel) == options_.ignored; }
  double weight_of(Index label) const {
    return options_.class_weights.empty()
               ? 1.
               : static_cast<double>(options_.class_weights[static_cast<std::size_t>(label)]);
  }
  double softmax(Index pixel) { return softmax_in_double(logits_.row_data(pixel), 1., probabilities_); }
  double probability(Index i) const { return probabilities_[static_cast<std::size_t>(i)]; }

  /// d += the gradient of the mean over classes and images.
  void add_dice_gradient(Index pixel, const DiceSums* sums, std::vector<double>& d) const {
    const Index classes = logits_.cols();
    const double share = options_.dice / static_cast<double>(classes * options_.images);
    double mean = 0;
    for (Index i = 0; i < classes; ++i) {
      const double below = sums[i].mass + options_.smooth, above = 2. * sums[i].overlap + options_.smooth;
      const double t = label(pixel) == i, d_mass = options_.squared ? 2. * probability(i) : 1.;
      const double slope = -share * (2. * t * below - above * d_mass) / (below * below);
      d[static_cast<std::size_t>(i)] = slope;
      mean += slope * probability(i);
    }
    for (Index i = 0; i < classes; ++i) {
      double& value = d[static_cast<std::size_t>(i)];
      value = probability(i) * (value - mean);
    }
  }
  void add_cross_entropy_gradient(Index pixel, std::vector<double>& d) const {
    if (!(weight_sum_ > 0)) return;
    const double share = options_.cross_entropy * weight_of(label(pixel)) / weight_sum_;
    for (Index i = 0; i < logits_.cols(); ++i)
      d[static_cast<std::size_t>(i)] += share * (probability(i) - (label(pixel) == i));
  }

  ConstMatrixView logits_;
  std::span<const std::int32_t> labels_;
  SegmentationLossOptions options_;
  std::vector<double> probabilities_;
  std::vector<DiceSums> sums_;
  double entropy_ = 0, weight_sum_ = 0;
};

inline double segmentation_loss_of(ConstMatrixView logits, std::span<const std::int32_t> labels,
                                   const SegmentationLossOptions& options, const MatrixView* d_logits) {
  SegmentationLoss loss(logits, labels, options);
  double value = 0;
  if (options.cross_entropy != 0) value += options.cross_entropy * loss.cross_entropy();
  if (options.dice != 0) {
    const std::vector<double> losses = loss.dice();
    double sum = 0;
    for (const double part : losses) sum += part;
    if (!losses.empty()) value += options.dice * sum / static_cast<double>(losses.size());
  }
  if (d_logits) loss.gradient(*d_logits);
  return value;
}

}  // namespace detail

/// The weighted sum of the losses of `options`: cross-entropy, the mean over pixels, divided by the sum of their class
/// weights; Dice, the mean over classes, absent ones too, of 1 - (2 sum(p t) + smooth) / (sum p + sum t + smooth).
/// logits: pixels (of all images, one after the other) x classes. Computed in double precision; without a pixel that
/// counts the cross-entropy is 0. Throws Error naming the row when a logit is not finite, the pixel when a label is
/// neither a class nor ignored, and when sizes do not fit.
inline double segmentation_loss(ConstMatrixView logits, std::span<const std::int32_t> labels,
                                const SegmentationLossOptions& options = {}) {
  return detail::segmentation_loss_of(logits, labels, options, nullptr);
}
/// The same; d_logits = its gradient, 0 for ignored pixels.
inline double segmentation_loss(ConstMatrixView logits, std::span<const std::int32_t> labels, MatrixView d_logits,
                                const SegmentationLossOptions& options = {}) {
  return detail::segmentation_loss_of(logits, labels, options, &d_logits);
}

/// The Dice loss of each class, which segmentation_loss() takes the mean of; options.images times as many, image by
/// image. Throws Error likewise.
inline std::vector<double> dice_losses(ConstMatrixView logits, std::span<const std::int32_t> labels,
                                       const SegmentationLossOptions& options = {}) {
  return detail::SegmentationLoss(logits, labels, options).dice();
}

}  // namespace moevit
