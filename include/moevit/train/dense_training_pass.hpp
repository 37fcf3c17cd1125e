/// The arithmetic of one training step of a segmenter or detector, and of an evaluation.
#pragma once

#include <moevit/models/dense_backpropagation.hpp>
#include <moevit/moe/noise.hpp>
#include <moevit/train/find_not_finite.hpp>
#include <moevit/train/parameter_runs.hpp>
#include <moevit/train/router_losses.hpp>
#include <moevit/train/training_pass.hpp>

#include <span>
#include <string>
#include <vector>

namespace moevit {

/// Gradients of batches, and evaluations, of one type of dense model. `Objective` is made from options and the size of
/// images, and has loss(outputs, batch, d_outputs, workspace) and evaluate(net, loader, context).
template <class Net, class LoaderType, class Objective>
class DenseTrainingPass {
  using Run = detail::PassesOf<Net>;
  using Batch = typename LoaderType::Batch;

 public:
  /// Throws Error when options make no sense for the model.
  DenseTrainingPass(const Net& net, const TrainerOptions& options)
      : options_(options),
        size_{net.preprocessing().height, net.preprocessing().width},
        run_(net, {.images = options.loader.batch,
                   .threads = options.threads,
                   .checkpoint = options.recompute,
                   .largest = size_}),
        evaluation_routing_(run_.context().routing),
        noise_(options.seed),
        gradient_list_(gradients_.parameters()),
        router_losses_(net.description(), options.router),
        objective_(options, size_) {
    RoutingOptions& routing = run_.context().routing;
    routing.noise_std = options.router.noise_std;
    routing.noise = &noise_;
    routing.aligned_gradients = options.router.aligned_gradients;
    if (options.router.capacity_ratio != unlimited) routing.capacity_ratio = options.router.capacity_ratio;
    const auto sizes = Net::BackboneType::map_sizes(size_);
    run_.backbone().add_losses = [this, sizes](int block, const Routing& routes, MatrixView d_logits) {
      router_losses_.add(routes, run_.context().routing, images_, Net::BackboneType::tokens_at(block, sizes), d_logits);
    };
  }
  DenseTrainingPass(const DenseTrainingPass&) = delete;

  GaussianNoise& noise() { return noise_; }
  /// The threads that passes run on, for the update.
  ExecutorRef executor() { return run_.context().workspace().executor(); }
  const std::vector<Parameter>& gradients() const { return gradient_list_; }
  /// What is trained.
  std::vector<Parameter> parameters(Net& net) { return net.parameters(); }

  /// Assigns the gradients of a batch, of step `step` from 0. Throws Error when something is not finite.
  StepLosses compute(const Net& net, const Batch& batch, Index step) {
    set_to_zero(gradient_list_, executor());
    images_ = batch.images.rows();
    pixels_ = {batch.images.data(), static_cast<std::size_t>(batch.images.size())};
    run_.backbone().drop = {.rates = options_.drop, .seed = options_.seed, .step = step};
    router_losses_.start({nullptr, 0, 1});
    const std::span<const float> outputs = run_.forward(net, pixels_, size_);
    d_outputs_.resize(outputs.size());
    const double loss = objective_.loss(outputs, batch, d_outputs_, run_.context().workspace());
    run_.backward(net, d_outputs_, gradients_);
    return {loss, router_losses_.auxiliary(), router_losses_.router()};
  }

  /// Lets running statistics of batch norms, where the backbone has any, follow the batch of the last compute().
  void follow_statistics(Net& net) { run_.backbone().follow_statistics(net.backbone()); }

  /// One epoch of a loader, without noise and with the model's own capacity.
  Evaluation evaluate(const Net& net, LoaderType& loader) {
    Context& context = run_.context();
    const detail::RoutingRestored restored(context);
    context.routing = evaluation_routing_;
    return objective_.evaluate(net, loader, context);
  }

  /// As TrainingPass::find_not_finite.
  std::string find_not_finite(const Net& net) {
    return detail::find_not_finite(net, pixels_, gradient_list_, run_.context(), [&] {
      std::vector<float> outputs(static_cast<std::size_t>(Net::output_values(images_, size_)));
      net.forward(pixels_, size_, outputs, run_.context());
    });
  }

 private:
  TrainerOptions options_;
  MapSize size_;
  Run run_;
  RoutingOptions evaluation_routing_;
  GaussianNoise noise_;
  Net gradients_;
  std::vector<Parameter> gradient_list_;
  RouterLosses router_losses_;
  Objective objective_;
  std::vector<float> d_outputs_;
  std::span<const float> pixels_;
  Index images_ = 0;
};

}  // namespace moevit
