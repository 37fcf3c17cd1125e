/// A training step: forward, loss, backward, update with Adam. Shared by benchmarks and comparisons with other engines.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/models/backpropagation.hpp>
#include <moevit/models/presets.hpp>
#include <moevit/train/adam.hpp>
#include <moevit/train/classification_losses.hpp>

#include <span>
#include <vector>

namespace moevit::bench {

template <ModelDescription description>
class TrainingStep {
  static constexpr VitConfig vit = description.vit;

 public:
  using Net = Model<description>;
  using Passes = Backpropagation<Vit<vit, typename Net::SparsePart>>;

  explicit TrainingStep(Index images, Index threads = 1)
      : passes_(net, {.images = images, .threads = threads}), labels_(static_cast<std::size_t>(images)) {
    for (std::size_t image = 0; image < labels_.size(); ++image)
      labels_[image] = static_cast<std::int32_t>(image % vit.classes);
  }

  /// Returns the loss before the update. Rate 0: all of the work, and the weights stay.
  double run(std::span<const float> images, double rate) {
    const ExecutorRef executor = passes_.context().workspace().executor();
    set_to_zero(gradient_list_, executor);
    const double loss = forward(images);
    passes_.backward(net, d_logits_, gradients);
    optimizer_.step(parameters_, gradient_list_, rate, executor);
    return loss;
  }
  double forward(std::span<const float> images) {
    passes_.forward(net, images, logits_);
    const Index rows = std::ssize(labels_);
    return softmax_cross_entropy({logits_.data(), rows, vit.classes}, labels_, {d_logits_.data(), rows, vit.classes});
  }

  double multiply_adds() const { return 3. * static_cast<double>(labels_.size()) * moevit::multiply_adds(description); }

  Net net, gradients;

 private:
  Passes passes_;
  std::vector<Parameter> parameters_ = net.parameters(), gradient_list_ = gradients.parameters();
  Adam optimizer_{parameters_};
  std::vector<std::int32_t> labels_;  // images 0, 1, 2... are of classes 0, 1, 2..., round and round
  std::vector<float> logits_ = std::vector<float>(labels_.size() * vit.classes), d_logits_ = logits_;
};

}  // namespace moevit::bench
