/// A task with its model types; included by the files that compile them.
#pragma once

#include "downstream/compiled_task.hpp"
#include "downstream/images.hpp"

#include <moevit/io/backbone_weights.hpp>
#include <moevit/models/dense_counts.hpp>
#include <moevit/train/dense_training.hpp>
#include <moevit/train/gain_scores.hpp>
#include <moevit/train/trainer.hpp>
#include <moevit/train/upcycling.hpp>

#include <deque>
#include <type_traits>
#include <utility>
#include <vector>

namespace examples::downstream {

/// All images of a list in memory, normalised, in batches.
class HeldBatches {
 public:
  HeldBatches(const moevit::Dataset& dataset, std::vector<Index> numbers, const moevit::Preprocessing& target) {
    moevit::Loader loader(dataset, std::move(numbers), target, {.batch = 64});
    const auto classes = std::ssize(dataset.class_names());
    for (Index step = 0; step < loader.steps_per_epoch(); ++step) {
      const moevit::Batch batch = loader.next();
      const auto count = static_cast<std::size_t>(batch.images.size());
      images_.emplace_back(batch.images.data(), batch.images.data() + count);
      targets_.emplace_back(static_cast<std::size_t>(batch.images.rows() * classes));
      const moevit::MatrixView targets(targets_.back().data(), batch.images.rows(), classes);
      moevit::one_hot_targets(batch.labels, targets);
      batches_.push_back({images_.back(), targets});
    }
  }
  HeldBatches(const HeldBatches&) = delete;
  const std::vector<moevit::ScoredBatch>& batches() const { return batches_; }

 private:
  std::deque<std::vector<float>> images_, targets_;
  std::vector<moevit::ScoredBatch> batches_;
};

template <Backbone backbone, Task task>
class TypedTask : public CompiledTask {
  static constexpr Index evaluation_batch = 16;
  using Dense = Net<backbone, task, false>;
  using Sparse = Net<backbone, task, true>;
  using Images = std::conditional_t<task == Task::upstream, UpstreamImages,
                                    std::conditional_t<is_segmentation(task), SegmentationImages, DetectionImages>>;

 public:
  explicit TypedTask(const TaskData& data) : images_(open(data)) {}

  Index training_images() const override { return std::ssize(images_.split.training); }

  std::filesystem::path train(const StageRequest& request, moevit::TrainingMonitor& monitor) const override {
    if (request.stage.model == moevit::StageModel::dense) return train_net<Dense>(request, monitor);
    return train_net<Sparse>(request, monitor);
  }

  Scores validate(moevit::StageModel model, const std::filesystem::path& weights) const override {
    return evaluate(model, weights, *images_.training, images_.split.validation);
  }
  Scores test(moevit::StageModel model, const std::filesystem::path& weights) const override {
    if (!images_.test) moevit::fail("downstream: expected test images, found none");
    return evaluate(model, weights, *images_.test, split_at(images_.test->size(), images_.test->size()).training);
  }

  ModelSize size(moevit::StageModel model) const override {
    return model == moevit::StageModel::dense ? size_of<Dense>() : size_of<Sparse>();
  }

  std::vector<moevit::BlockGain> gains(const std::filesystem::path& weights) const override {
    if constexpr (task == Task::upstream) {
      const auto net = std::make_unique<Dense>();
      moevit::load(*net, weights);
      const HeldBatches held(*images_.training, images_.split.validation, net->preprocessing());
      return moevit::gain_scores<Sparse::moe.experts>(*net, held.batches(), {.routings = 4});
    } else {
      moevit::fail("downstream: gain scores are of the upstream model");
    }
  }

 private:
  static Images open(const TaskData& data) {
    if constexpr (task == Task::upstream)
      return open_upstream(data.root, data.with_test, data.threads);
    else if constexpr (is_segmentation(task))
      return open_segmentation(task, data.root, data.with_test);
    else
      return open_detection(task, data.root, data.with_test);
  }

  template <class Net>
  static std::unique_ptr<Net> blank(std::uint64_t seed) {
    auto net = std::make_unique<Net>();
    net->set_preprocessing(preprocessing_of(task));
    moevit::initialise(net->parameters(), {.seed = seed});
    return net;
  }
  /// Weights of the stage before: those of a classifier, of which a downstream model takes the backbone.
  template <class Net>
  static void take(Net& net, const std::filesystem::path& weights) {
    if constexpr (task == Task::upstream)
      moevit::load(net, weights);
    else
      moevit::load_backbone(net, weights);
  }
  /// The net that a stage begins with. Heads of one seed are the same in all pipelines.
  template <class Net>
  static std::unique_ptr<Net> start(const StageRequest& request) {
    auto net = blank<Net>(request.training.seed);
    if (request.stage.start == moevit::StageStart::previous) take(*net, request.start);
    if constexpr (std::is_same_v<Net, Sparse>)
      if (request.stage.start == moevit::StageStart::upcycled) {
        const auto dense = blank<Dense>(request.training.seed);
        take(*dense, request.start);
        moevit::upcycle(*dense, *net,
                        {.residual_deviation = request.residual_deviation, .seed = request.training.seed});
      }
    return net;
  }

  template <class Net>
  std::filesystem::path train_net(const StageRequest& request, moevit::TrainingMonitor& monitor) const {
    const auto net = start<Net>(request);
    moevit::TrainerOptions options = request.training;
    if constexpr (is_segmentation(task)) options.dense.segmentation.ignored = images_.training->ignored();
    options.notes["start"] = moevit::detail::checksum(std::as_const(*net).parameters());
    moevit::Trainer trainer(*net, {*images_.training, images_.split}, options);
    trainer.run(monitor);
    return trainer.files().weights();
  }

  template <class Data>
  Scores evaluate(moevit::StageModel model, const std::filesystem::path& weights, const Data& data,
                  std::vector<Index> numbers) const {
    if (model == moevit::StageModel::dense) return evaluate_net<Dense>(weights, data, std::move(numbers));
    return evaluate_net<Sparse>(weights, data, std::move(numbers));
  }
  template <class Net, class Data>
  static Scores evaluate_net(const std::filesystem::path& weights, const Data& data, std::vector<Index> numbers) {
    const auto net = std::make_unique<Net>();
    moevit::load(*net, weights);
    typename moevit::TrainingTask<Net>::LoaderType loader(
        data, std::move(numbers), net->preprocessing(),
        {.batch = evaluation_batch, .order = moevit::BatchOrder::as_given, .last_batch = moevit::LastBatch::kept});
    if constexpr (task == Task::upstream) {
      moevit::Context context = net->context({.images = evaluation_batch});
      return {.score = moevit::evaluate(*net, loader, context).accuracy};
    } else {
      moevit::Context context = net->context({.images = evaluation_batch}, image_of(task));
      if constexpr (is_segmentation(task)) {
        const auto found = moevit::evaluate(*net, loader, image_of(task), context, {.ignored = data.ignored()});
        return {.score = found.confusion.mean_iou()};
      } else {
        const auto scores = moevit::evaluate(*net, loader, image_of(task), context).scores();
        return {scores.average_precision(), scores.average_precision_at(0), scores.average_precision_at(5)};
      }
    }
  }

  template <class Net>
  static ModelSize size_of() {
    const auto net = std::make_unique<Net>();
    const moevit::ParameterCounts counts = moevit::parameter_counts(*net);
    if constexpr (task == Task::upstream)
      return {moevit::multiply_adds(net->description()), counts.all, counts.active};
    else
      return {moevit::dense_multiply_adds(*net, image_of(task)), counts.all, counts.active};
  }

  Images images_;
};

template <Backbone backbone, Task task>
std::unique_ptr<CompiledTask> open_typed_task(const TaskData& data) {
  if constexpr (is_compiled(task)) return std::make_unique<TypedTask<backbone, task>>(data);
  moevit::fail("downstream: this program was built without models for the task; see MOEVIT_DOWNSTREAM_TASKS");
}

}  // namespace examples::downstream
