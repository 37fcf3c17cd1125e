/// How good a classifier is on the images of a loader.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/moe/context.hpp>
#include <moevit/train/accuracy.hpp>
#include <moevit/train/classification_losses.hpp>
#include <moevit/train/image_experts.hpp>
#include <moevit/train/loader.hpp>
#include <moevit/train/member_outputs.hpp>
#include <moevit/train/targets.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// Means over all images.
struct Evaluation {
  Index images = 0;
  double loss = 0;  ///< cross-entropy
  double accuracy = 0;
  /// Share of the images whose super-class has the router's largest logit; 0 where there is no such router.
  double router_accuracy = 0;
  /// Images of each class (row) by the class that was found (column): classes x classes.
  std::vector<Index> confusion;
};

/// What the images of an evaluation are routed by, and compared with, in a Mobile V-MoE.
struct EvaluationRouting {
  ImageRouting routing = ImageRouting::learned;
  std::vector<std::int32_t> super_classes = {};  ///< of each class; empty: the router is not looked at
  std::uint64_t seed = 1;                        ///< of random experts
};

namespace detail {

/// Gives a context its routing options back, also when an Error leaves the pass.
class RoutingRestored {
 public:
  explicit RoutingRestored(Context& context) : context_(context), options_(context.routing) {}
  RoutingRestored(const RoutingRestored&) = delete;
  ~RoutingRestored() { context_.routing = options_; }

 private:
  Context& context_;
  RoutingOptions options_;
};

/// Sums over batches, of one model type.
template <class Net>
class EvaluationPass {
  static constexpr Index classes = Net::config.outputs(), members = Net::outputs_per_image;

 public:
  /// All three must outlive the pass.
  EvaluationPass(const Net& net, Context& context, const EvaluationRouting& routing)
      : net_(net),
        context_(context),
        super_classes_(routing.super_classes),
        experts_(routing.routing, routing.super_classes, Net::moe.experts, routing.seed) {
    result_.confusion.resize(static_cast<std::size_t>(classes * classes));
  }

  void add(const Batch& batch) {
    const Index count = batch.images.rows();
    const auto values = static_cast<std::size_t>(count * classes);
    outputs_.resize(values * members), targets_.resize(values);
    const MatrixView targets(targets_.data(), count, classes);
    one_hot_targets(batch.labels, targets);
    {
      const RoutingRestored restored(context_);
      context_.routing.assigned = experts_.assign(batch.numbers, targets);
      net_.forward({batch.images.data(), static_cast<std::size_t>(batch.images.size())}, std::span(outputs_), context_);
    }
    const ConstMatrixView logits = predictions(count);
    loss_ += static_cast<double>(count) * softmax_cross_entropy(logits, batch.labels);
    const std::vector<std::int32_t> found = top_classes(logits, 1);
    for (std::size_t i = 0; i < found.size(); ++i)
      ++result_.confusion[static_cast<std::size_t>(batch.labels[i] * classes + found[i])];
    result_.images += count;
    if constexpr (Net::sparse_blocks > 0)
      if (!super_classes_.empty()) count_routed(batch);
  }

  Evaluation finish() && {
    if (result_.images == 0) return std::move(result_);
    const auto images = static_cast<double>(result_.images);
    Index correct = 0;
    for (Index label = 0; label < classes; ++label)
      correct += result_.confusion[static_cast<std::size_t>(label * classes + label)];
    result_.loss = loss_ / images;
    result_.accuracy = static_cast<double>(correct) / images;
    result_.router_accuracy = static_cast<double>(routed_) / images;
    return std::move(result_);
  }

 private:
  /// Logits of images in outputs_; of an ensemble those of its members' mean.
  ConstMatrixView predictions(Index images) {
    if constexpr (members == 1) {
      return {outputs_.data(), images, classes};
    } else {
      means_.resize(static_cast<std::size_t>(images * classes));
      mean_of_members({outputs_.data(), images * members, classes}, members, {means_.data(), images, classes});
      return {means_.data(), images, classes};
    }
  }
  void count_routed(const Batch& batch) {
    const Routing& routing = context_.routing_of(static_cast<int>(Net::moe.placement.first(Net::depth)));
    std::vector<std::int32_t> own;
    for (const std::int32_t label : batch.labels) own.push_back(super_classes_[static_cast<std::size_t>(label)]);
    routed_ += count_correct(routing.logits(), own);
  }

  const Net& net_;
  Context& context_;
  std::span<const std::int32_t> super_classes_;
  ImageExperts experts_;
  std::vector<float> outputs_, targets_, means_;
  Evaluation result_;
  double loss_ = 0;
  Index routed_ = 0;
};

}  // namespace detail

/// One epoch of a loader; ensembles predict by the mean of their members' probabilities. The loader's images need
/// labels. Throws Error as the loader, the model and softmax_cross_entropy, and when super-classes do not fit.
template <class Net>
Evaluation evaluate(const Net& net, Loader& loader, Context& context, const EvaluationRouting& routing = {}) {
  detail::EvaluationPass<Net> pass(net, context, routing);
  for (Index step = 0; step < loader.steps_per_epoch(); ++step) pass.add(loader.next());
  return std::move(pass).finish();
}

}  // namespace moevit
