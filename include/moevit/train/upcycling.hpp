/// Sparse upcycling: a sparse model starts from a trained dense one.
///
/// The MLP of a dense block becomes every expert of the sparse block, and everything else is copied by name; routers
/// have no source and keep what they have. The optimiser's state goes the same way. Source: Komatsuzaki et al. 2023.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/train/optimizer_state.hpp>
#include <moevit/train/parameter_runs.hpp>
#include <moevit/train/parameter_sources.hpp>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

namespace detail {

inline constexpr std::string_view expert_part = ".moe.experts.", mlp_part = ".mlp.";

inline bool is_of_experts(const std::string& name) { return name.find(expert_part) != std::string::npos; }

/// The dense model's name of what a sparse model calls `name`, a parameter or a tensor of an optimiser; nothing for
/// routers.
inline std::optional<std::string> dense_name(const std::string& name) {
  if (name.starts_with("router.") || name.find(".router.") != std::string::npos) return std::nullopt;
  const auto place = name.find(expert_part);
  if (place == std::string::npos) return name;
  return name.substr(0, place) + std::string(mlp_part) + name.substr(place + expert_part.size());
}

/// `values` as often as they fit.
inline std::vector<float> repeated(const std::vector<float>& values, std::size_t size) {
  std::vector<float> result(size);
  for (std::size_t first = 0; first < size; first += values.size())
    std::copy(values.begin(), values.end(), result.begin() + static_cast<std::ptrdiff_t>(first));
  return result;
}

/// The shape that a sparse model's parameter has when it is made of one of shape `source`.
inline Shape upcycled_shape(const Parameter& target, Shape source) {
  if (is_of_experts(target.name)) source.insert(source.begin(), static_cast<Index>(target.matrices.size()));
  return source;
}

}  // namespace detail

/// Copies the parameters of a dense model to those of a sparse one, see above. Throws Error that lists every parameter
/// without a counterpart or of another shape; the sparse model is then as it was.
inline void upcycle(std::span<const ConstParameter> dense, std::span<const Parameter> sparse) {
  detail::NamedSources<ConstParameter> sources;
  for (const ConstParameter& parameter : dense) {
    detail::check_trainable(parameter);
    sources.add(parameter.name, parameter);
  }
  std::vector<std::pair<const ConstParameter*, const Parameter*>> copies;
  for (const Parameter& target : sparse) {
    detail::check_trainable(target);
    const auto name = detail::dense_name(target.name);
    const ConstParameter* source = name ? sources.find(*name, target.name) : nullptr;
    if (!source) continue;
    if (const Shape found = detail::upcycled_shape(target, source->shape); found != target.shape)
      sources.note(target.name + ": expected " + to_string(target.shape) + ", found " + to_string(found) + " from " +
                   source->name + " " + to_string(source->shape));
    copies.emplace_back(source, &target);
  }
  sources.check("upcycling: the dense model's parameters do not fit the sparse one, which is left as it was:");
  for (const auto& [source, target] : copies)
    target->assign(detail::repeated(source->values(), static_cast<std::size_t>(target->size())));
}

/// Makes a sparse model of a trained dense one: parameters as above, preprocessing and class names. Initialise the
/// sparse one before, for its routers. With gates that are renormalised, or k = 1 and scale_by_gate = false, it then
/// computes the dense model's function as long as no token is dropped; with V-MoE's raw gates, whose sum is below 1,
/// the experts' outputs are scaled down at first.
///
///     Vit<vit> dense;                        // trained
///     VMoe<vit, moe> sparse;                 // moe.renormalise = true
///     initialise(sparse.parameters());
///     upcycle(dense, sparse);
template <class Dense, class Sparse>
void upcycle(const Dense& dense, Sparse& sparse) {
  static_assert(Dense::sparse_blocks == 0, "upcycle: the first model must be dense");
  static_assert(Sparse::sparse_blocks > 0, "upcycle: the second model must be sparse");
  static_assert(Dense::config == Sparse::config, "upcycle: both models must have the same VitConfig");
  upcycle(std::span<const ConstParameter>(dense.parameters()), std::span<const Parameter>(sparse.parameters()));
  sparse.set_preprocessing(dense.preprocessing());
  sparse.set_class_names(dense.class_names());
}

/// The same for optimisers: `sparse` is the state of the sparse model's fresh optimiser, as Trainer::optimizer_state()
/// gives it, and the result goes to Trainer::start_optimizer(). Routers keep their zeros. Throws Error that lists what
/// does not fit, such as the state of another kind of optimiser.
inline OptimizerState upcycled(const OptimizerState& dense, OptimizerState sparse) {
  detail::NamedSources<std::vector<float>> sources;
  for (const auto& [name, values] : dense.tensors) sources.add(name, values);
  for (auto& [name, values] : sparse.tensors) {
    const auto wanted = detail::dense_name(name);
    const std::vector<float>* source = wanted ? sources.find(*wanted, name) : nullptr;
    if (!source) continue;
    const bool is_expert = detail::is_of_experts(name);
    const bool fits =
        is_expert ? !source->empty() && values.size() % source->size() == 0 : values.size() == source->size();
    if (fits)
      values = detail::repeated(*source, values.size());
    else
      sources.note(name + ": expected " + std::to_string(values.size()) + " values" +
                   (is_expert ? " of a whole number of experts, found experts of " : ", found ") +
                   std::to_string(source->size()));
  }
  sources.check("upcycling: the dense model's optimiser does not fit the sparse one's:");
  sparse.steps = dense.steps;
  return sparse;
}

}  // namespace moevit
