/// An optimiser whose kind is chosen at run time.
#pragma once

#include <moevit/train/adafactor.hpp>
#include <moevit/train/adam.hpp>
#include <moevit/train/sgd.hpp>
#include <moevit/train/trainer_options.hpp>

#include <variant>

namespace moevit {

/// Adam, Sgd or Adafactor, as OptimizerOptions says; an Optimizer.
class AnyOptimizer {
 public:
  AnyOptimizer(std::span<const Parameter> parameters, const OptimizerOptions& options)
      : optimizer_(make(parameters, options)) {}

  template <ParameterList Gradients>
  void step(std::span<const Parameter> parameters, const Gradients& gradients, double learning_rate,
            ExecutorRef executor = {}) {
    std::visit([&](auto& optimizer) { optimizer.step(parameters, gradients, learning_rate, executor); }, optimizer_);
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
  using Kinds = std::variant<Adam, Sgd, Adafactor>;

  static Kinds make(std::span<const Parameter> parameters, const OptimizerOptions& options) {
    if (options.kind == OptimizerKind::adafactor)
      return Adafactor(parameters, {.factored_from = options.adafactor.factored_from,
                                    .decay_exponent = options.adafactor.decay_exponent,
                                    .clip = options.adafactor.clip,
                                    .scale_by_parameter = options.adafactor.scale_by_parameter,
                                    .momentum = options.adafactor.momentum,
                                    .weight_decay = options.weight_decay,
                                    .decay_by_rate = true,
                                    .decays = mask(options.decays)});
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

  Kinds optimizer_;
};

}  // namespace moevit
