/// Adam and AdamW.
#pragma once

#include <moevit/simd/simd.hpp>
#include <moevit/train/optimizer.hpp>

#include <cmath>
#include <utility>

namespace moevit {

/// Options of Adam; with a weight decay it is AdamW.
struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;    ///< added to the root
  double weight_decay = 0;  ///< decoupled, multiplied by the learning rate
  DecayMask decays = is_kernel_but_router;
};

/// m and v are moving averages of the gradient and its square, divided by 1 - beta^steps; parameter -= rate * (m /
/// (sqrt(v) + epsilon) + decay * parameter). Kingma and Ba 2015, Loshchilov and Hutter 2019; the same as optax.adamw.
class Adam {
 public:
  explicit Adam(std::span<const Parameter> parameters, AdamOptions options = {})
      : options_(std::move(options)),
        trained_(parameters, options_.decays),
        first_("adam.first", parameters),
        second_("adam.second", parameters) {}

  /// One step. Throws Error naming the parameter when gradients or parameters are not those of the model it was made
  /// for; then nothing has changed.
  template <ParameterList Gradients>
  void step(std::span<const Parameter> parameters, const Gradients& gradients, double learning_rate,
            ExecutorRef executor = {}) {
    trained_.check(parameters, gradients);
    ++steps_;
    const Factors common = factors_of(learning_rate);
    each_parameter_in_parallel(parameters.size(), executor, [&](std::size_t i) {
      Factors factors = common;
      factors.decay = trained_.decays(i) ? static_cast<float>(options_.weight_decay) : 0.f;
      visit_runs(parameters[i], gradients[i], [&](Index first, float* values, const float* gradient, Index count) {
        update(count, factors, gradient, first_[i].data() + first, second_[i].data() + first, values);
      });
    });
  }

  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

  /// visit(name, values) for every state tensor: "adam.first.NAME", then "adam.second.NAME".
  template <class Visit>
  void each_state(Visit visit) {
    first_.each(visit);
    second_.each(visit);
  }

 private:
  struct Factors {
    float rate, beta1, rest1, beta2, rest2;  // rest = 1 - beta
    float correction1, correction2;          // 1 / (1 - beta^steps)
    float epsilon, decay;
  };

  Factors factors_of(double learning_rate) const {
    const auto correction = [&](double beta) { return 1. / (1. - std::pow(beta, static_cast<double>(steps_))); };
    return {.rate = static_cast<float>(learning_rate),
            .beta1 = static_cast<float>(options_.beta1),
            .rest1 = static_cast<float>(1. - options_.beta1),
            .beta2 = static_cast<float>(options_.beta2),
            .rest2 = static_cast<float>(1. - options_.beta2),
            .correction1 = static_cast<float>(correction(options_.beta1)),
            .correction2 = static_cast<float>(correction(options_.beta2)),
            .epsilon = static_cast<float>(options_.epsilon),
            .decay = 0.f};
  }

  // Explicit registers, as compilers do not vectorise std::sqrt, which may have to set errno.
  static void update(Index count, const Factors& f, const float* gradient, float* first, float* second, float* values) {
    using Arch = simd::DefaultArch;
    using B = simd::Batch<Arch>;
    const auto change = [&](B g, B& m, B& v, B& x) {
      m = B(f.beta1) * m + B(f.rest1) * g;
      v = B(f.beta2) * v + B(f.rest2) * (g * g);
      const B root = xsimd::sqrt(v * B(f.correction2)) + B(f.epsilon);
      x -= B(f.rate) * (m * B(f.correction1) / root + B(f.decay) * x);
    };
    Index i = 0;
    for (; i + simd::lanes<Arch> <= count; i += simd::lanes<Arch>) {
      B m = B::load_unaligned(first + i), v = B::load_unaligned(second + i), x = B::load_unaligned(values + i);
      change(B::load_unaligned(gradient + i), m, v, x);
      m.store_unaligned(first + i), v.store_unaligned(second + i), x.store_unaligned(values + i);
    }
    if (const Index rest = count - i; rest > 0) {
      B m = simd::load_first<Arch>(first + i, rest, 0.f), v = simd::load_first<Arch>(second + i, rest, 0.f);
      B x = simd::load_first<Arch>(values + i, rest, 0.f);
      change(simd::load_first<Arch>(gradient + i, rest, 0.f), m, v, x);
      simd::store_first<Arch>(m, first + i, rest);
      simd::store_first<Arch>(v, second + i, rest);
      simd::store_first<Arch>(x, values + i, rest);
    }
  }

  AdamOptions options_;
  detail::TrainedParameters trained_;
  ParameterState first_;
  ParameterState second_;
  Index steps_ = 0;
};

}  // namespace moevit
