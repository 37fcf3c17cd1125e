/// The losses that a model's routers learn from beside the classifier's.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/moe/loss_gradients.hpp>
#include <moevit/moe/routing.hpp>
#include <moevit/train/targets.hpp>
#include <moevit/train/trainer_options.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace moevit {

/// Auxiliary losses of top-k routers and the super-class loss of a Mobile V-MoE's router, summed over one step.
class RouterLosses {
 public:
  /// Throws Error when super-classes do not fit the model.
  RouterLosses(const ModelDescription& model, RouterTraining options)
      : options_(std::move(options)),
        has_auxiliary_(model.moe.router == RouterKind::top_k &&
                       (options_.losses.importance > 0 || options_.losses.load > 0 || options_.losses.gshard > 0 ||
                        options_.losses.z > 0)),
        experts_(model.moe.experts) {
    if (options_.super_classes.empty()) return;
    if (model.family != ModelFamily::mobile_vmoe)
      fail("super-classes: expected a Mobile V-MoE, whose router decides once per image");
    if (std::ssize(options_.super_classes) != model.vit.classes)
      fail("super-classes: expected one for each of ", model.vit.classes, " classes, found ",
           options_.super_classes.size());
    for (const std::int32_t group : options_.super_classes)
      if (group < 0 || group >= experts_)
        fail("super-classes: expected numbers from 0 to ", experts_ - 1, ", one per expert, found ", group);
  }

  /// Before the backward pass of a step. targets: images x classes, without smoothing.
  void start(ConstMatrixView targets) {
    auxiliary_ = router_ = 0;
    if (options_.super_classes.empty()) return;
    super_targets_.resize(static_cast<std::size_t>(targets.rows() * experts_));
    super_class_targets(targets, options_.super_classes, MatrixView(super_targets_.data(), targets.rows(), experts_));
  }

  /// Adds the gradients of one router's losses to that of its logits.
  void add(const Routing& routing, const RoutingOptions& options, Index images, Index tokens, MatrixView d_logits) {
    if (!options_.super_classes.empty())
      router_ += add_router_cross_entropy(routing.logits(), {super_targets_.data(), images, experts_},
                                          options_.super_class_weight, d_logits);
    if (!has_auxiliary_) return;
    const bool is_per_image = routing.rows() != images * tokens;
    const Index group = is_per_image ? routing.rows() : tokens_per_group(options, images, tokens);
    const double weight = static_cast<double>(group) / static_cast<double>(routing.rows());
    for (Index first = 0; first < routing.rows(); first += group) {
      const ConstMatrixView logits = routing.logits().rows_of(first, group), all_noisy = routing.noisy_logits();
      const ConstMatrixView noisy = all_noisy.rows() ? all_noisy.rows_of(first, group) : all_noisy;
      auxiliary_ +=
          weight * auxiliary_losses(logits, noisy, options.selected, options.noise_std, options_.losses).total;
      add_auxiliary_gradient(logits, noisy, options.selected, options.noise_std, options_.losses, weight,
                             d_logits.rows_of(first, group));
    }
  }

  double auxiliary() const { return auxiliary_; }
  double router() const { return router_; }

 private:
  RouterTraining options_;
  bool has_auxiliary_;
  Index experts_;
  std::vector<float> super_targets_;
  double auxiliary_ = 0;
  double router_ = 0;
};

}  // namespace moevit
