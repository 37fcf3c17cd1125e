/// Sparse upcycling: a sparse model starts from a trained dense one.
///
/// The MLP of a dense block becomes every expert of the sparse block, or the core of experts that have one, and
/// everything else is copied by name; routers have no source and keep what they have. Residuals begin with a product of
/// zero, or with noise. The optimiser's state goes the same way. Sources: Komatsuzaki et al. 2023; for residuals Wu et
/// al. 2022, section 3.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/moe/expert_names.hpp>
#include <moevit/train/initialise.hpp>
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

/// Options of upcycle(), for experts that have a core.
struct UpcyclingOptions {
  /// Standard deviation of what residuals add to each weight of a kernel at first. 0: nothing, so that every expert
  /// begins as the dense MLP, bit for bit. Wu et al. speak of small noise without a number.
  double residual_deviation = 0;
  std::uint64_t seed = 1;  ///< of that noise, and of the left factors of residuals of low rank
};

namespace detail {

inline constexpr std::string_view mlp_part = ".mlp.";

/// Whether it is made of as many copies of its source as there are experts.
inline bool is_of_experts(const std::string& name) {
  return name.find(expert_part) != std::string::npos && !is_expert_core(name);
}

/// The dense model's name of what a sparse model calls `name`, a parameter or a tensor of an optimiser; nothing for
/// routers and residuals.
inline std::optional<std::string> dense_name(const std::string& name) {
  if (name.starts_with("router.") || name.find(".router.") != std::string::npos || is_expert_residual(name))
    return std::nullopt;
  for (const std::string_view part : {core_part, expert_part})
    if (const auto place = name.find(part); place != std::string::npos)
      return name.substr(0, place) + std::string(mlp_part) + name.substr(place + part.size());
  return name;
}

/// First values of all residuals. Of two factors only the right one begins with zeros where that is wanted: with both
/// at zero neither would ever have a gradient. The left one, which comes before it, has the deviation 1 / sqrt(inputs),
/// and so the sum over the rank has that of the right one times sqrt(rank / inputs).
inline void start_residuals(std::span<const Parameter> parameters, const UpcyclingOptions& options) {
  double factor = 1;  // for the noise of the next kernel
  for (const Parameter& residual : parameters) {
    if (!is_expert_residual(residual.name)) continue;
    std::vector<float> values(static_cast<std::size_t>(residual.size()), 0.f);
    RandomStream random(options.seed, text_key(residual.name));
    if (residual.name.ends_with(".left.kernel")) {
      const auto inputs = static_cast<double>(residual.shape[1]), rank = static_cast<double>(residual.shape[2]);
      fill_normal(1. / std::sqrt(inputs), random, values);
      factor = std::sqrt(inputs / rank);
    } else if (residual.name.ends_with(".kernel")) {
      if (options.residual_deviation > 0) fill_normal(factor * options.residual_deviation, random, values);
      factor = 1;
    }
    residual.assign(values);
  }
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
inline void upcycle(std::span<const ConstParameter> dense, std::span<const Parameter> sparse,
                    const UpcyclingOptions& options = {}) {
  if (!(options.residual_deviation >= 0))
    fail("upcycling: expected a deviation of residuals from 0 up, found ", options.residual_deviation);
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
  detail::start_residuals(sparse, options);
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
void upcycle(const Dense& dense, Sparse& sparse, const UpcyclingOptions& options = {}) {
  static_assert(Dense::sparse_blocks == 0, "upcycle: the first model must be dense");
  static_assert(Sparse::sparse_blocks > 0, "upcycle: the second model must be sparse");
  static_assert(Dense::config == Sparse::config, "upcycle: both models must have the same configuration");
  upcycle(std::span<const ConstParameter>(dense.parameters()), std::span<const Parameter>(sparse.parameters()),
          options);
  sparse.set_preprocessing(dense.preprocessing());
  sparse.set_class_names(dense.class_names());
}

/// The same for optimisers: `sparse` is the state of the sparse model's fresh optimiser, as Trainer::optimizer_state()
/// gives it, and the result goes to Trainer::start_optimizer(). Routers and residuals keep their zeros. Throws Error
/// that lists what does not fit, such as the state of another kind of optimiser.
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
