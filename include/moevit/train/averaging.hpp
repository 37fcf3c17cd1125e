/// Moving average of weights.
#pragma once

#include <moevit/train/optimizer.hpp>

#include <algorithm>
#include <utility>

namespace moevit {

/// Options of WeightAverage.
struct AveragingOptions {
  double decay = 0.9999;
  bool warm_up =
      false;  ///< early updates decay by at most (1 + updates) / (10 + updates), so that they forget the start
};

/// Exponential moving average of parameters: average = decay * average + (1 - decay) * parameters after every step. It
/// begins as the parameters that it is made with.
class WeightAverage {
 public:
  explicit WeightAverage(std::span<const Parameter> parameters, AveragingOptions options = {})
      : options_(options), trained_(parameters, {}), average_("average", parameters) {
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].copy_to(average_[i]);
  }

  /// Takes in the parameters. Throws Error when they are not those of the model it was made for.
  void update(std::span<const Parameter> parameters, ExecutorRef executor = {}) {
    trained_.check(parameters, parameters);
    const double early = (1. + static_cast<double>(updates_)) / (10. + static_cast<double>(updates_));
    const auto rest = static_cast<float>(1. - (options_.warm_up ? std::min(options_.decay, early) : options_.decay));
    each_parameter_in_parallel(parameters.size(), executor, [&](std::size_t i) {
      visit_runs(parameters[i], [&](Index first, const float* values, Index count) {
        float* average = average_[i].data() + first;
        for (Index j = 0; j < count; ++j) average[j] += rest * (values[j] - average[j]);
      });
    });
    ++updates_;
  }

  /// Exchanges the parameters and their average: before an evaluation, and again after it.
  void swap(std::span<const Parameter> parameters) {
    trained_.check(parameters, parameters);
    for (std::size_t i = 0; i < parameters.size(); ++i)
      visit_runs(parameters[i], [&](Index first, float* values, Index count) {
        std::swap_ranges(values, values + count, average_[i].data() + first);
      });
  }

  /// Writes the average to the parameters of a model of the same type.
  void copy_to(std::span<const Parameter> parameters) const {
    trained_.check(parameters, parameters);
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].assign(average_[i]);
  }

  Index updates() const { return updates_; }
  void set_updates(Index updates) { updates_ = updates; }

  /// visit(name, values) for every state tensor: "average.NAME".
  template <class Visit>
  void each_state(Visit visit) {
    average_.each(visit);
  }

 private:
  AveragingOptions options_;
  detail::TrainedParameters trained_;
  ParameterState average_;
  Index updates_ = 0;
};

}  // namespace moevit
