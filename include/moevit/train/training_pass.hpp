/// The arithmetic of one training step, and of an evaluation.
#pragma once

#include <moevit/models/hierarchical_backpropagation.hpp>
#include <moevit/moe/noise.hpp>
#include <moevit/train/evaluation.hpp>
#include <moevit/train/find_not_finite.hpp>
#include <moevit/train/image_experts.hpp>
#include <moevit/train/loader.hpp>
#include <moevit/train/member_outputs.hpp>
#include <moevit/train/mixup.hpp>
#include <moevit/train/parameter_runs.hpp>
#include <moevit/train/router_guidance.hpp>
#include <moevit/train/router_losses.hpp>
#include <moevit/train/targets.hpp>
#include <moevit/train/trainer_options.hpp>

#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace moevit {

/// Losses of one step before its update.
struct StepLosses {
  double loss = 0;       ///< mean cross-entropy of the classifier
  double auxiliary = 0;  ///< weighted sum over the sparse blocks
  double router = 0;     ///< mean cross-entropy of the super-classes, or divergence from a teacher's routers
};

/// Gradients of batches, and evaluations, of one model type. The members of an ensemble learn by the mean of their
/// losses and are evaluated by the mean of their probabilities.
template <class Net>
class TrainingPass {
  static constexpr Index classes = Net::config.outputs(), members = Net::outputs_per_image;
  using Run = std::remove_cvref_t<decltype(Backpropagation(std::declval<const Net&>()))>;

 public:
  /// Throws Error when options make no sense for the model.
  TrainingPass(const Net& net, const TrainerOptions& options)
      : options_(options),
        run_(net, {.images = options.loader.batch, .threads = options.threads, .checkpoint = options.recompute}),
        evaluation_routing_(run_.context().routing),
        noise_(options.seed),
        gradient_list_(gradients_.parameters()),
        router_losses_(net.description(), options.router),
        experts_(options.router.routing, options.router.super_classes, Net::moe.experts, options.seed) {
    const auto values = static_cast<std::size_t>(options.loader.batch * classes);
    targets_.resize(values);
    for (auto* list : {&outputs_, &d_outputs_, &member_targets_}) list->resize(values * members);
    RoutingOptions& routing = run_.context().routing;
    routing.noise_std = options.router.noise_std;
    routing.noise = &noise_;
    routing.aligned_gradients = options.router.aligned_gradients;
    if (options.router.capacity_ratio != unlimited) routing.capacity_ratio = options.router.capacity_ratio;
    if (options.router.guidance.steps != GuidedSteps::none) {
      guidance_.emplace(net.description(), net.preprocessing(), options);
      for (const Parameter& gradient : guidance_->gradients()) gradient_list_.push_back(gradient);
    }
    run_.add_losses = [this](int block, const Routing& routes, MatrixView d_logits) {
      router_losses_.add(routes, run_.context().routing, images_.size() / Net::config.image_values(),
                         Net::tokens_at(block), d_logits);
      if (guidance_) guidance_->add(block, routes.logits(), d_logits);
    };
  }
  TrainingPass(const TrainingPass&) = delete;

  GaussianNoise& noise() { return noise_; }
  /// The threads that passes run on, for the update.
  ExecutorRef executor() { return run_.context().workspace().executor(); }
  const std::vector<Parameter>& gradients() const { return gradient_list_; }
  /// Those of the net, and those of a teacher's routers if there is one, in the order of gradients().
  std::vector<Parameter> parameters(Net& net) {
    std::vector<Parameter> parameters = net.parameters();
    if (guidance_)
      for (const Parameter& parameter : guidance_->parameters()) parameters.push_back(parameter);
    return parameters;
  }

  /// Assigns the gradients of a batch, of step `step` from 0. Throws Error when something is not finite.
  StepLosses compute(const Net& net, const Batch& batch, Index step) {
    set_to_zero(gradient_list_, executor());
    prepare(batch, step);
    const Index images = batch.images.rows(), rows = images * members;
    const auto outputs = static_cast<std::size_t>(rows * classes);
    run_.drop = {.rates = options_.drop, .seed = options_.seed, .step = step};
    run_.context().routing.assigned = experts_.assign(batch.numbers, targets_of(images));
    run_.forward(net, images_, std::span(outputs_).first(outputs));
    router_losses_.start(targets_of(images));
    if (guidance_) guidance_->start(images_, step);
    smooth(std::span(targets_).first(outputs / members));
    const MatrixView member_targets(member_targets_.data(), rows, classes);
    repeat_for_members(targets_of(images), members, member_targets);
    const double loss = softmax_cross_entropy({outputs_.data(), rows, classes}, ConstMatrixView(member_targets),
                                              MatrixView(d_outputs_.data(), rows, classes));
    run_.backward(net, std::span(d_outputs_).first(outputs), gradients_);
    return {loss, router_losses_.auxiliary(), router_losses_.router() + (guidance_ ? guidance_->loss() : 0.)};
  }

  /// Lets running statistics of batch norms, where the model has any, follow the batch of the last compute().
  void follow_statistics(Net& net) {
    if constexpr (requires { run_.follow_statistics(net); }) run_.follow_statistics(net);
  }

  /// One epoch of a loader, without noise and with the model's own capacity.
  Evaluation evaluate(const Net& net, Loader& loader) {
    Context& context = run_.context();
    const detail::RoutingRestored restored(context);
    context.routing = evaluation_routing_;
    const RouterTraining& router = options_.router;
    return moevit::evaluate(net, loader, context, {router.routing, router.super_classes, options_.seed});
  }

  /// Where numbers that are not finite appear first in the last pass: "the image values", "the weights NAME", "the
  /// output of block 2", "the gradient of NAME", or "".
  std::string find_not_finite(const Net& net) {
    Context& context = run_.context();
    return detail::find_not_finite(net, images_, gradient_list_, context, [&] {
      net.forward(images_, std::span(outputs_).first(images_.size() / image_values * std::size_t{members * classes}),
                  context);
    });
  }

 private:
  static constexpr auto image_values = static_cast<std::size_t>(Net::config.image_values());

  ConstMatrixView targets_of(Index images) const { return {targets_.data(), images, classes}; }

  /// Images and targets without smoothing, mixed if that is wanted.
  void prepare(const Batch& batch, Index step) {
    const Index images = batch.images.rows();
    images_ = {batch.images.data(), static_cast<std::size_t>(batch.images.size())};
    one_hot_targets(batch.labels, MatrixView(targets_.data(), images, classes));
    if (options_.mixup == 0 && options_.cutmix == 0) return;
    const Mixing mixing{options_.mixup, options_.cutmix, options_.cutmix_probability};
    constexpr Index height = Net::config.height(), width = Net::config.width();
    const Mixture mixture = draw_mixture(images, height, width, mixing, options_.seed, step);
    mixed_images_.resize(images_.size());
    mix_images(batch.images, height, width, mixture, MatrixView(mixed_images_.data(), images, batch.images.cols()));
    images_ = mixed_images_;
    const std::vector<float> own = targets_;
    mix_rows({own.data(), images, classes}, mixture.partners, mixture.shares,
             MatrixView(targets_.data(), images, classes));
  }
  void smooth(std::span<float> targets) const {
    const double smoothing = options_.label_smoothing, off = smoothing / static_cast<double>(classes);
    if (smoothing == 0) return;
    for (float& target : targets) target = static_cast<float>((1. - smoothing) * static_cast<double>(target) + off);
  }

  TrainerOptions options_;
  Run run_;
  RoutingOptions evaluation_routing_;
  GaussianNoise noise_;
  Net gradients_;
  std::vector<Parameter> gradient_list_;
  RouterLosses router_losses_;
  std::optional<RouterGuidance> guidance_;
  ImageExperts experts_;
  std::vector<float> outputs_, d_outputs_, targets_, member_targets_, mixed_images_;
  std::span<const float> images_;
};

}  // namespace moevit
