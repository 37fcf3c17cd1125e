/// Stochastic gradient descent with momentum.
#pragma once

#include <moevit/train/optimizer.hpp>

#include <utility>

namespace moevit {

/// Options of Sgd.
struct SgdOptions {
  double momentum = 0;      ///< 0: no state
  bool nesterov = false;    ///< looks ahead by one momentum step
  double weight_decay = 0;  ///< decoupled, multiplied by the learning rate
  DecayMask decays = is_kernel_but_router;
};

/// trace = gradient + momentum * trace; parameter -= rate * (trace + decay * parameter), where nesterov takes gradient
/// + momentum * trace for the trace. The same as optax.sgd.
class Sgd {
 public:
  explicit Sgd(std::span<const Parameter> parameters, SgdOptions options = {})
      : options_(std::move(options)), trained_(parameters, options_.decays) {
    if (options_.momentum != 0) trace_ = ParameterState("sgd.trace", parameters);
  }

  /// One step. Throws Error naming the parameter when gradients or parameters are not those of the model it was made
  /// for; then nothing has changed.
  template <ParameterList Gradients>
  void step(std::span<const Parameter> parameters, const Gradients& gradients, double learning_rate,
            ExecutorRef executor = {}) {
    trained_.check(parameters, gradients);
    each_parameter_in_parallel(parameters.size(), executor, [&](std::size_t i) {
      const Factors factors{.rate = static_cast<float>(learning_rate),
                            .momentum = static_cast<float>(options_.momentum),
                            .decay = trained_.decays(i) ? static_cast<float>(options_.weight_decay) : 0.f};
      visit_runs(parameters[i], gradients[i], [&](Index first, float* values, const float* gradient, Index count) {
        if (options_.momentum == 0)
          update(count, factors, gradient, values);
        else
          update_with_momentum(count, factors, options_.nesterov, gradient, trace_[i].data() + first, values);
      });
    });
    ++steps_;
  }

  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// visit(name, values) for every state tensor: "sgd.trace.NAME" with momentum, else none.
  template <class Visit>
  void each_state(Visit visit) {
    trace_.each(visit);
  }

 private:
  struct Factors {
    float rate, momentum, decay;
  };

  static void update(Index count, const Factors& f, const float* gradient, float* values) {
    for (Index i = 0; i < count; ++i) values[i] -= f.rate * (gradient[i] + f.decay * values[i]);
  }
  static void update_with_momentum(Index count, const Factors& f, bool nesterov, const float* gradient, float* trace,
                                   float* values) {
    for (Index i = 0; i < count; ++i) {
      trace[i] = gradient[i] + f.momentum * trace[i];
      const float change = nesterov ? gradient[i] + f.momentum * trace[i] : trace[i];
      values[i] -= f.rate * (change + f.decay * values[i]);
    }
  }

  SgdOptions options_;
  detail::TrainedParameters trained_;
  ParameterState trace_;
  Index steps_ = 0;
};

}  // namespace moevit
