/// What all optimisers share: decay masks, state and the Optimizer concept.
///
/// An optimiser changes parameters by gradients, which are the parameters of another object of the same model type.
/// Arithmetic is float32, element by element in a fixed order, so that every run gives the same bits, on any number of
/// threads: the workers of an executor share the parameters, not the elements of one.
#pragma once

#include <moevit/core/parameter.hpp>
#include <moevit/train/parameter_runs.hpp>

#include <concepts>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moevit {

/// Which parameters weight decay shrinks.
using DecayMask = std::function<bool(const Parameter&)>;

/// Kernels, routers' too, but no biases, norms, tokens or position embeddings: "kernel" is the last part of the name.
/// What the released V-MoE models were trained with.
inline bool is_kernel(const Parameter& parameter) {
  const std::string_view name = parameter.name;
  return name.substr(name.rfind('.') + 1) == "kernel" && parameter.shape.size() >= 2 && parameter.role != Role::norm;
}
/// Kernels without those of routers.
inline bool is_kernel_but_router(const Parameter& parameter) {
  return is_kernel(parameter) && parameter.role != Role::router;
}
/// Everything that is trained, as in the V-MoE paper.
inline bool is_any_parameter(const Parameter& parameter) { return parameter.role != Role::statistics; }

/// A number for every element of every parameter, in logical order; begins as zeros.
class ParameterState {
 public:
  ParameterState() = default;
  /// Tensors are called `kind`.NAME. Throws Error when a parameter's weights are packed.
  ParameterState(const std::string& kind, std::span<const Parameter> parameters) {
    for (const Parameter& parameter : parameters) {
      detail::check_trainable(parameter);
      names_.push_back(join_name(kind, parameter.name));
      values_.emplace_back(static_cast<std::size_t>(parameter.size()), 0.f);
    }
  }

  std::vector<float>& operator[](std::size_t parameter) { return values_[parameter]; }
  const std::vector<float>& operator[](std::size_t parameter) const { return values_[parameter]; }
  std::size_t size() const { return values_.size(); }

  /// visit(name, values) for every parameter.
  template <class Visit>
  void each(Visit visit) {
    for (std::size_t i = 0; i < values_.size(); ++i) visit(names_[i], std::span<float>(values_[i]));
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<float>> values_;
};

namespace detail {

/// The parameters that an optimiser was made for, and which of them decay.
class TrainedParameters {
 public:
  TrainedParameters(std::span<const Parameter> parameters, const DecayMask& mask) {
    for (const Parameter& parameter : parameters) {
      check_trainable(parameter);
      names_.push_back(parameter.name);
      sizes_.push_back(parameter.size());
      decays_.push_back(mask && mask(parameter));
    }
  }

  bool decays(std::size_t parameter) const { return decays_[parameter]; }

  /// Throws Error unless these are the parameters, and `gradients` have their layouts.
  template <ParameterList Gradients>
  void check(std::span<const Parameter> parameters, const Gradients& gradients) const {
    if (parameters.size() != names_.size())
      fail("optimizer: made for ", names_.size(), " parameters, found ", parameters.size());
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (parameters[i].name != names_[i] || parameters[i].size() != sizes_[i])
        fail("optimizer: made for parameter ", names_[i], " of ", sizes_[i], " values, found ", parameters[i].name,
             " of ", parameters[i].size());
    require_same_parameters(parameters, gradients);
  }

 private:
  std::vector<std::string> names_;
  std::vector<Index> sizes_;
  std::vector<bool> decays_;
};

}  // namespace detail

/// Sgd, Adam, Adafactor, or one of your own. steps() counts the steps taken; with it and the tensors of each_state a
/// run goes on where it stopped.
template <class T>
concept Optimizer = requires(T optimizer, std::span<const Parameter> parameters,
                             const std::vector<ConstParameter>& gradients,
                             void (*visit)(const std::string&, std::span<float>)) {
  optimizer.step(parameters, gradients, 1e-3);
  optimizer.each_state(visit);
  { optimizer.steps() } -> std::convertible_to<Index>;
  optimizer.set_steps(Index{1});
};

}  // namespace moevit
