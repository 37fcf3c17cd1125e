/// What a training run is made of between two steps: what a checkpoint holds.
#pragma once

#include <moevit/train/averaging.hpp>
#include <moevit/train/grouped_optimizer.hpp>
#include <moevit/train/optimizer_state.hpp>
#include <moevit/train/trainer_options.hpp>
#include <moevit/train/training_log.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// Sums over the steps since the last line of the log.
struct StepSums {
  double loss = 0;
  double auxiliary = 0;
  double router = 0;
  double norm = 0;
  Index steps = 0;

  /// The entry of the log that they make; at least one step.
  TrainingEntry mean(Index step, Index epoch, double learning_rate) const {
    const double share = 1. / static_cast<double>(steps);
    return {step, epoch, loss * share, auxiliary * share, router * share, learning_rate, norm * share};
  }
};

/// Where a run is. Order of the data, augmentation and mixup follow from the step and the seed.
struct TrainingProgress {
  Index step = 0;  ///< steps done
  std::uint64_t noise_counter = 0;
  Index best_step = 0;  ///< of the best evaluation; 0: none yet
  double best_accuracy = -1;
  double best_loss = std::numeric_limits<double>::infinity();
  std::uint64_t log_bytes = 0;  ///< of the log, up to this step
  StepSums sums;

  /// Calls visit(name, value) for every field.
  template <class Self, class Visit>
  static void each_field(Self& self, Visit visit) {
    visit("step", self.step);
    visit("noise_counter", self.noise_counter);
    visit("best_step", self.best_step);
    visit("best_accuracy", self.best_accuracy);
    visit("best_loss", self.best_loss);
    visit("log_bytes", self.log_bytes);
    visit("sum_of_losses", self.sums.loss);
    visit("sum_of_auxiliary_losses", self.sums.auxiliary);
    visit("sum_of_router_losses", self.sums.router);
    visit("sum_of_norms", self.sums.norm);
    visit("summed_steps", self.sums.steps);
  }
};

/// The parameters of a list that are trained. Throws Error when there are none.
inline std::vector<Parameter> trained_of(std::span<const Parameter> parameters, TrainedPart which) {
  std::vector<Parameter> list;
  for (const Parameter& parameter : parameters)
    if (is_trained(which, parameter)) list.push_back(parameter);
  if (list.empty()) fail("training: expected parameters that are trained, found none");
  return list;
}

/// Parameters with their optimiser, average and progress.
class TrainingState {
 public:
  TrainingProgress progress;

  /// `parameters` of a model, which must stay where it is.
  TrainingState(std::vector<Parameter> parameters, const TrainerOptions& options)
      : parameters_(std::move(parameters)),
        trained_(trained_of(parameters_, options.optimizer.trains)),
        optimizer_(trained_, options.optimizer, options.dense.backbone_rate) {
    if (options.averaging) average_.emplace(trained_, *options.averaging);
  }

  /// All parameters, those included that are not trained.
  const std::vector<Parameter>& parameters() const { return parameters_; }

  /// One step of the optimiser, and of the average. `gradients`: of the parameters that are trained.
  void update(const std::vector<Parameter>& gradients, double learning_rate, ExecutorRef executor) {
    optimizer_.step(trained_, gradients, learning_rate, executor);
    if (average_) average_->update(trained_, executor);
  }

  /// Exchanges the parameters and their average, if there is one: before an evaluation, and again after it.
  void swap_average() {
    if (average_) average_->swap(trained_);
  }

  /// visit(name, values) for every tensor beside the parameters.
  template <class Visit>
  void each_state(Visit visit) {
    optimizer_.each_state(visit);
    if (average_) average_->each_state(visit);
  }

  /// A copy of the optimiser's tensors and steps.
  OptimizerState optimizer_state() {
    OptimizerState state{.steps = optimizer_.steps()};
    optimizer_.each_state([&](const std::string& name, std::span<float> values) {
      state.tensors.emplace(name, std::vector<float>(values.begin(), values.end()));
    });
    return state;
  }

  /// Begins with the state of an optimiser that has taken steps before. Throws Error naming the tensor when it is not
  /// one of this kind of optimiser for this model; the state is then as it was.
  void start_optimizer(const OptimizerState& start) {
    check_start(start);
    optimizer_.each_state([&](const std::string& name, std::span<float> values) {
      const std::vector<float>& source = start.tensors.at(name);
      std::copy(source.begin(), source.end(), values.begin());
    });
    earlier_steps_ = start.steps;
    optimizer_.set_steps(earlier_steps_ + progress.step);
  }

  /// Counters that follow from the step, after progress was read.
  void take_progress(const TrainingProgress& read) {
    progress = read;
    optimizer_.set_steps(earlier_steps_ + read.step);
    if (average_) average_->set_updates(read.step);
  }

 private:
  void check_start(const OptimizerState& start) {
    if (start.steps < 0) fail("optimizer state: expected a number of steps from 0 up, found ", start.steps);
    std::size_t tensors = 0;
    optimizer_.each_state([&](const std::string& name, std::span<float> values) {
      ++tensors;
      const auto found = start.tensors.find(name);
      if (found == start.tensors.end()) fail("optimizer state: expected a tensor ", name, ", found none of that name");
      if (found->second.size() != values.size())
        fail("optimizer state: ", name, ": expected ", values.size(), " values, found ", found->second.size());
    });
    if (tensors != start.tensors.size())
      fail("optimizer state: expected ", tensors, " tensors, found ", start.tensors.size());
  }

  std::vector<Parameter> parameters_, trained_;
  GroupedOptimizer optimizer_;
  Index earlier_steps_ = 0;  ///< of the optimiser, before this run
  std::optional<WeightAverage> average_;
};

}  // namespace moevit
