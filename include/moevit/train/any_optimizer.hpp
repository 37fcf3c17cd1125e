/// An optimiser whose kind is chosen at run time.
#pragma once

#include <moevit/train/adam.hpp>
#include <moevit/train/sgd.hpp>
#include <moevit/train/trainer_options.hpp>

#include <variant>

namespace moevit {

/// Adam or Sgd, as OptimizerOptions says; an Optimizer.
class AnyOptimizer {
 public:
  AnyOptimizer(std::span<const Parameter> parameters, const OptimizerOptions& options)
      : optimizer_(make(parameters, options)) {}

  template <ParameterList Gradients>
  void step(std::span<const Parameter> parameters, const Gradients& gradients, double learning_rate) {
    std::visit([&](auto& optimizer) { optimizer.step(parameters, gradients, learning_rate); }, optimizer_);
  }
  Index steps() const {
    return std::visit([](const auto& optimizer) { return optimizer.steps(); }, optimizer_);
  }
  void set_steps(Index steps) {
    std::visit([&](auto& optimizer) { optimizer.set_steps(steps); }, optimizer_);
  }
  template <class Visit>
  void each_state(Visit visit) {
    std::visit([&](auto& optimizer) { optimizer.each_state(visit); }, optimizer_);
  }

 private:
  static DecayMask mask(DecayedParameters decays) {
    switch (decays) {
      case DecayedParameters::kernels:
        return is_kernel;
      case DecayedParameters::all:
        return is_any_parameter;
      case DecayedParameters::kernels_but_routers:
        break;
    }
    return is_kernel_but_router;
  }
  static std::variant<Adam, Sgd> make(std::span<const Parameter> parameters, const OptimizerOptions& options) {
    if (options.kind == OptimizerKind::sgd)
      return Sgd(parameters, {.momentum = options.momentum,
                              .nesterov = options.nesterov,
                              .weight_decay = options.weight_decay,
                              .decays = mask(options.decays)});
    return Adam(parameters, {.beta1 = options.beta1,
                             .beta2 = options.beta2,
                             .epsilon = options.epsilon,
                             .weight_decay = options.weight_decay,
                             .decays = mask(options.decays)});
  }

  std::variant<Adam, Sgd> optimizer_;
};

}  // namespace moevit
