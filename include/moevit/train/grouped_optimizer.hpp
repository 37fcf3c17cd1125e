/// An optimiser with a learning rate of its own for the backbone of a dense model.
#pragma once

#include <moevit/train/any_optimizer.hpp>

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

/// AnyOptimizer for the parameters of a model in up to two groups: those of the backbone, whose names begin with
/// "backbone.", and all others. An Optimizer.
class GroupedOptimizer {
 public:
  /// With a factor of 1 there is one group. Throws Error when another one is given for a model without a backbone.
  GroupedOptimizer(std::span<const Parameter> parameters, const OptimizerOptions& options, double backbone_rate) {
    const auto is_of_backbone = [](const Parameter& parameter) { return parameter.name.starts_with("backbone."); };
    const auto end = std::find_if_not(parameters.begin(), parameters.end(), is_of_backbone);
    const auto backbone = backbone_rate == 1 ? std::size_t{0} : static_cast<std::size_t>(end - parameters.begin());
    if (backbone_rate != 1 && backbone == 0)
      fail("optimizer: a learning rate of the backbone, but the model has no backbone");
    if (backbone > 0) groups_.push_back({backbone, backbone_rate, {parameters.first(backbone), options}});
    groups_.push_back({parameters.size() - backbone, 1., {parameters.subspan(backbone), options}});
  }

  template <ParameterList Gradients>
  void step(std::span<const Parameter> parameters, const Gradients& gradients, double learning_rate,
            ExecutorRef executor = {}) {
    require_same_parameters(parameters, gradients);
    std::span rest(gradients);
    for (Group& group : groups_) {
      group.optimizer.step(parameters.first(group.parameters), rest.first(group.parameters), learning_rate * group.rate,
                           executor);
      parameters = parameters.subspan(group.parameters), rest = rest.subspan(group.parameters);
    }
  }
  Index steps() const { return groups_.back().optimizer.steps(); }
  void set_steps(Index steps) {
    for (Group& group : groups_) group.optimizer.set_steps(steps);
  }
  template <class Visit>
  void each_state(Visit visit) {
    for (Group& group : groups_) group.optimizer.each_state(visit);
  }

 private:
  struct Group {
    std::size_t parameters;
    double rate;  ///< factor of the learning rate
    AnyOptimizer optimizer;
  };
  std::vector<Group> groups_;
};

}  // namespace moevit
