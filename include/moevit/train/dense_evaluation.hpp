/// How good a segmenter or a detector is on the images of a loader.
#pragma once

#include <moevit/models/detector.hpp>
#include <moevit/models/segmenter.hpp>
#include <moevit/train/average_precision.hpp>
#include <moevit/train/dense_loader.hpp>
#include <moevit/train/fcos_loss.hpp>
#include <moevit/train/mean_iou.hpp>
#include <moevit/train/segmentation_losses.hpp>

#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace moevit {

/// Over all images of a loader.
struct SegmentationEvaluation {
  Index images = 0;
  double loss = 0;           ///< mean over images
  PixelConfusion confusion;  ///< at the size of the loader's images
};
struct DetectionEvaluation {
  Index images = 0;
  double loss = 0;                         ///< mean over images, each with its batch's number of places with objects
  std::vector<ScoredImage> outcomes = {};  ///< what is there and what was found, in the loader's order
  Index classes = 0;

  DetectionScores scores() const { return {outcomes, classes}; }
};

namespace detail {

template <class Batch>
std::span<const float> pixels_of(const Batch& batch) {
  return {batch.images.data(), static_cast<std::size_t>(batch.images.size())};
}

/// Mean over images of what add(batch) gives for the mean of a batch, over one epoch.
template <class Loader, class Add>
std::pair<Index, double> mean_over_epoch(Loader& loader, Add add) {
  Index images = 0;
  double sum = 0;
  for (Index step = 0; step < loader.steps_per_epoch(); ++step) {
    const auto batch = loader.next();
    sum += static_cast<double>(batch.images.rows()) * add(batch);
    images += batch.images.rows();
  }
  return {images, images ? sum / static_cast<double>(images) : 0.};
}

}  // namespace detail

/// One epoch of a loader, whose images have the size `size`. Throws Error as the loader, the model and the loss.
template <class Backbone, UperNetConfig head>
SegmentationEvaluation evaluate(const Segmenter<Backbone, head>& net, SegmentationLoader& loader, MapSize size,
                                Context& context, const SegmentationLossOptions& options = {}) {
  SegmentationEvaluation result{0, 0, PixelConfusion(head.classes, options.ignored)};
  std::vector<float> logits;
  std::vector<std::int32_t> found;
  std::tie(result.images, result.loss) = detail::mean_over_epoch(loader, [&](const auto& batch) {
    const Index pixels = batch.images.rows() * size.places();
    logits.resize(static_cast<std::size_t>(pixels * head.classes)), found.resize(static_cast<std::size_t>(pixels));
    net.segment(detail::pixels_of(batch), size, logits, context);
    const ConstMatrixView view(logits.data(), pixels, head.classes);
    top_classes_of_pixels(view, found);
    const double loss = segmentation_loss(view, batch.labels, options);
    result.confusion.add(batch.labels, found);
    return loss;
  });
  return result;
}

/// The same for detectors.
template <class Backbone, FcosConfig head>
DetectionEvaluation evaluate(const Detector<Backbone, head>& net, DetectionLoader& loader, MapSize size,
                             Context& context, const FcosLossOptions& options = {},
                             const DetectionOptions& decoding = {}) {
  using Net = Detector<Backbone, head>;
  DetectionEvaluation result{.classes = head.classes};
  const auto levels = Net::levels_of(size);
  std::vector<float> outputs, room;
  FcosTargets targets;
  std::tie(result.images, result.loss) = detail::mean_over_epoch(loader, [&](const auto& batch) {
    const Index images = batch.images.rows();
    outputs.resize(static_cast<std::size_t>(Net::output_values(images, size))), room.resize(outputs.size());
    net.forward(detail::pixels_of(batch), size, outputs, context);
    const FcosOutputs<const float> seen(std::span<const float>(outputs), images, head.classes, levels);
    assign_fcos(batch.labels, levels, head.classes, options.assignment, targets);
    auto detections = decode_fcos(seen, size, decoding);
    for (std::size_t i = 0; i < detections.size(); ++i)
      result.outcomes.push_back({batch.labels[i], std::move(detections[i])});
    return fcos_loss(seen, targets, options, {std::span<float>(room), images, head.classes, levels}).total();
  });
  return result;
}

}  // namespace moevit
