/// Segmentation and detection as tasks of Trainer.
///
///     Segmenter<Swin<config>, UperNetConfig{.classes = 21}> net;
///     initialise(net.parameters(), {.seed = 1});
///     load_backbone(net, "swin.safetensors");
///     Trainer trainer(net, {dataset, validation_split(dataset)}, {.folder = "run", .steps = 1000});
///     trainer.run();
///
/// What the log calls accuracy is the mean IoU of a segmenter, the average precision (COCO's AP) of a detector.
#pragma once

#include <moevit/train/dense_evaluation.hpp>
#include <moevit/train/dense_training_pass.hpp>
#include <moevit/train/training_task.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

namespace moevit {

namespace detail {

inline SegmentationLossOptions segmentation_options(const TrainerOptions& options) {
  SegmentationLossOptions own = options.dense.segmentation;
  own.class_weights = options.dense.class_weights;
  return own;
}

/// As Trainer knows evaluations.
template <class Found>
Evaluation dense_evaluation(const Found& found, double accuracy) {
  Evaluation evaluation;
  evaluation.images = found.images, evaluation.loss = found.loss, evaluation.accuracy = accuracy;
  return evaluation;
}

/// The loss of a segmenter's pixels.
template <class Net>
class SegmentationObjective {
  static constexpr Index classes = Net::classes;

 public:
  SegmentationObjective(const TrainerOptions& options, MapSize size) : options_(options), size_(size) {}

  /// Assigns the gradient of the outputs of a batch.
  double loss(std::span<const float> outputs, const SegmentationLoader::Batch& batch, std::span<float> d_outputs,
              Workspace& workspace) {
    const Index images = batch.images.rows(), pixels = images * size_.places();
    const MapSize map = Net::map_sizes(size_)[0];
    const Index places = images * map.places();
    logits_.resize(static_cast<std::size_t>(pixels * classes)), d_logits_.resize(logits_.size());
    const MatrixView logits(logits_.data(), pixels, classes), d_logits(d_logits_.data(), pixels, classes);
    resize_map({outputs.data(), places, classes}, map, images, logits, size_, workspace);
    const double loss = segmentation_loss(logits, batch.labels, d_logits, segmentation_options(options_));
    resize_map_backward(d_logits, size_, images, {d_outputs.data(), places, classes}, map, workspace);
    return loss;
  }

  Evaluation evaluate(const Net& net, SegmentationLoader& loader, Context& context) const {
    const auto found = moevit::evaluate(net, loader, size_, context, segmentation_options(options_));
    return dense_evaluation(found, found.confusion.mean_iou());
  }

 private:
  TrainerOptions options_;
  MapSize size_;
  std::vector<float> logits_, d_logits_;
};

/// The loss of a detector's places.
template <class Net>
class DetectionObjective {
 public:
  DetectionObjective(const TrainerOptions& options, MapSize size) : options_(options.dense), size_(size) {}

  double loss(std::span<const float> outputs, const DetectionLoader::Batch& batch, std::span<float> d_outputs,
              Workspace&) {
    const auto levels = Net::levels_of(size_);
    const Index images = batch.images.rows();
    assign_fcos(batch.labels, levels, Net::classes, options_.detection.assignment, targets_);
    return fcos_loss({outputs, images, Net::classes, levels}, targets_, options_.detection,
                     {d_outputs, images, Net::classes, levels})
        .total();
  }

  Evaluation evaluate(const Net& net, DetectionLoader& loader, Context& context) const {
    const auto found = moevit::evaluate(net, loader, size_, context, options_.detection, options_.decoding);
    return dense_evaluation(found, found.scores().average_precision());
  }

 private:
  DenseTraining options_;
  MapSize size_;
  FcosTargets targets_;
};

/// What both tasks share.
template <class Net, class DataSet, class LoaderOfTask, class Objective>
struct DenseTrainingTask {
  using Data = DataSet;
  using LoaderType = LoaderOfTask;
  using Pass = DenseTrainingPass<Net, LoaderOfTask, Objective>;

  static void check(const Net& net, const BasicTrainingData<Data>& data, const TrainerOptions& options) {
    check_data_set(data, Net::classes);
    if (net.preprocessing().channels != Net::channels)
      fail("training: the model takes images of ", Net::channels, " channels, but its preprocessing makes ",
           net.preprocessing().channels);
    if (options.mixup != 0 || options.cutmix != 0 || options.label_smoothing != 0)
      fail("training: mixup, cutmix and label smoothing are for classifiers");
    Fingerprint asked, none;
    add_augmentation(options.loader.augmentation, asked), add_augmentation({}, none);
    if (asked != none) fail("training: the augmentation of segmenters and detectors is that of the option `dense`");
    if (options.router.guidance.steps != GuidedSteps::none || options.router.routing != ImageRouting::learned)
      fail("training: routing by a teacher or by super-classes is for classifiers");
  }

  static DenseLoaderOptions loader_options(const TrainerOptions& options) {
    return {.batch = options.loader.batch,
            .seed = options.loader.seed,
            .order = options.loader.order,
            .last_batch = options.loader.last_batch,
            .augmentation = options.dense.augmentation,
            .ahead = options.loader.ahead};
  }

  static void add_to(Fingerprint& print, const BasicTrainingData<Data>&, const TrainerOptions& options) {
    const DenseAugmentation& augmentation = options.dense.augmentation;
    print["dense, scales"] = exact_text(augmentation.min_scale) + " " + exact_text(augmentation.max_scale);
    print["dense, place"] = exact_text(augmentation.place);
    print["dense, flips"] = exact_text(augmentation.flip);
    print["dense, operations"] = exact_text(augmentation.operations);
    print["dense, magnitude"] = exact_text(augmentation.magnitude);
    print["dense, list"] = exact_list(augmentation.list);
    print["dense, kept area"] = exact_text(augmentation.kept_area);
    print["dense, fill"] = exact_text(Index{augmentation.fill});
    print["dense, learning rate of the backbone"] = exact_text(options.dense.backbone_rate);
  }
};

}  // namespace detail

/// Segmentation.
template <class Net>
requires std::derived_from<Net, Segmenter<typename Net::BackboneType, Net::HeadType::config>>
struct TrainingTask<Net>
    : detail::DenseTrainingTask<Net, SegmentationDataset, SegmentationLoader, detail::SegmentationObjective<Net>> {
  using Base =
      detail::DenseTrainingTask<Net, SegmentationDataset, SegmentationLoader, detail::SegmentationObjective<Net>>;

  static void check(const Net& net, const BasicTrainingData<SegmentationDataset>& data, const TrainerOptions& options) {
    Base::check(net, data, options);
    if (data.dataset.ignored() != options.dense.segmentation.ignored)
      fail("training: the data set's masks ignore ", Index{data.dataset.ignored()}, ", but the loss ",
           options.dense.segmentation.ignored);
  }
  static void add_to(Fingerprint& print, const BasicTrainingData<SegmentationDataset>& data,
                     const TrainerOptions& options) {
    Base::add_to(print, data, options);
    const SegmentationLossOptions& loss = options.dense.segmentation;
    print["segmentation, cross-entropy"] = detail::exact_text(loss.cross_entropy);
    print["segmentation, Dice"] = detail::exact_text(loss.dice);
    print["segmentation, Dice smoothing"] = detail::exact_text(loss.smooth);
    print["segmentation, Dice of squares"] = detail::exact_text(loss.squared);
    print["segmentation, Dice of images"] = detail::exact_text(loss.images);
    std::string weights;
    for (const float weight : options.dense.class_weights)
      weights += (weights.empty() ? "" : " ") + detail::exact_text(static_cast<double>(weight));
    print["segmentation, class weights"] = weights;
    std::uint64_t sum = 0;
    const Image mask = data.dataset.mask(data.split.training.front());
    for (const std::uint8_t label : mask.pixels()) sum = detail::mix_bits(sum ^ label);
    print["segmentation, first mask"] = std::to_string(sum);
  }
};

/// Detection.
template <class Net>
requires std::derived_from<Net, Detector<typename Net::BackboneType, Net::HeadType::config>>
struct TrainingTask<Net>
    : detail::DenseTrainingTask<Net, DetectionDataset, DetectionLoader, detail::DetectionObjective<Net>> {
  using Base = detail::DenseTrainingTask<Net, DetectionDataset, DetectionLoader, detail::DetectionObjective<Net>>;

  static void add_to(Fingerprint& print, const BasicTrainingData<DetectionDataset>& data,
                     const TrainerOptions& options) {
    Base::add_to(print, data, options);
    const FcosLossOptions& loss = options.dense.detection;
    print["detection, alpha"] = detail::exact_text(loss.focal.alpha);
    print["detection, gamma"] = detail::exact_text(loss.focal.gamma);
    print["detection, boxes"] = detail::exact_text(loss.box_weight);
    print["detection, radius"] = detail::exact_text(loss.assignment.radius);
    print["detection, reach"] = detail::exact_text(loss.assignment.reach);
    const DetectionOptions& decoding = options.dense.decoding;
    print["detection, least score"] = detail::exact_text(decoding.least_score);
    print["detection, candidates"] = detail::exact_text(decoding.candidates);
    print["detection, overlap"] = detail::exact_text(decoding.suppression.iou);
    print["detection, most"] = detail::exact_text(decoding.suppression.most);
    Index objects = 0;
    for (const Index image : data.split.training) objects += std::ssize(data.dataset.objects(image));
    print["detection, objects"] = detail::exact_text(objects);
  }
};

}  // namespace moevit
