/// Sparse upcycling: a sparse model starts from a trained dense one.
///
/// The MLP of a dense block becomes every expert of the sparse block, and everything else is copied by name; routers
/// have no source and keep what they have. The optimiser's state goes the same way. Source: Komatsuzaki et al. 2023.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/train/optimizer_state.hpp>
#include <moevit/train/parameter_runs.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

namespace detail {

inline constexpr std::string_view expert_part = ".moe.experts.", mlp_part = ".mlp.";

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

/// Pairs the tensors of a sparse model, or of its optimiser, with those of a dense one and collects what does not fit.
template <class Source>
class UpcyclingSources {
 public:
  void add(const std::string& name, const Source& source) { sources_.emplace(name, &source); }

  /// The source of `name`; null for routers and where there is none, which is noted.
  const Source* find(const std::string& name) {
    const auto wanted = dense_name(name);
    if (!wanted) return nullptr;
    const auto found = sources_.find(*wanted);
    if (found == sources_.end()) {
      note(name + ": expected " + *wanted + " in the dense model, found none");
      return nullptr;
    }
    used_.insert(*wanted);
    return found->second;
  }
  void note(std::string line) { problems_.push_back(std::move(line)); }

  /// Throws Error that lists what did not fit, and what nothing was made of.
  void check(const char* what) {
    for (const auto& [name, source] : sources_)
      if (!used_.contains(name)) note(name + ": the sparse model has no place for it");
    if (problems_.empty()) return;
    constexpr std::size_t shown = 25;
    std::string message = std::string("upcycling: ") + what + " of the dense model do not fit the sparse one:";
    for (std::size_t i = 0; i < std::min(shown, problems_.size()); ++i) message += "\n  " + problems_[i];
    if (problems_.size() > shown) message += "\n  and " + std::to_string(problems_.size() - shown) + " more";
    throw Error(message);
  }

 private:
  std::map<std::string, const Source*> sources_;
  std::set<std::string> used_;
  std::vector<std::string> problems_;
};

/// The shape that a sparse model's parameter has when it is made of one of shape `source`.
inline Shape upcycled_shape(const BasicParameter<float>& target, const Shape& source) {
  Shape shape = source;
  if (target.name.find(expert_part) != std::string::npos)
    shape.insert(shape.begin(), static_cast<Index>(target.matrices.size()));
  return shape;
}

}  // namespace detail

/// Copies the parameters of a dense model to those of a sparse one, see above. Throws Error that lists every parameter
/// without a counterpart or of another shape; the sparse model is then as it was.
inline void upcycle(std::span<const ConstParameter> dense, std::span<const Parameter> sparse) {
  detail::UpcyclingSources<ConstParameter> sources;
  for (const ConstParameter& parameter : dense) {
    detail::check_trainable(parameter);
    sources.add(parameter.name, parameter);
  }
  std::vector<std::pair<const ConstParameter*, const Parameter*>> copies;
  for (const Parameter& target : sparse) {
    detail::check_trainable(target);
    const ConstParameter* source = sources.find(target.name);
    if (!source) continue;
    if (const Shape expected = detail::upcycled_shape(target, source->shape); expected != target.shape)
      sources.note(target.name + ": expected " + to_string(target.shape) + ", found " + to_string(expected) + " from " +
                   source->name + " " + to_string(source->shape));
    copies.emplace_back(source, &target);
  }
  sources.check("parameters");
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
  detail::UpcyclingSources<std::vector<float>> sources;
  for (const auto& [name, values] : dense.tensors) sources.add(name, values);
  for (auto& [name, values] : sparse.tensors) {
    const std::vector<float>* source = sources.find(name);
    if (!source) continue;
    const bool is_expert = name.find(detail::expert_part) != std::string::npos;
    const bool fits =
        is_expert ? !source->empty() && values.size() % source->size() == 0 : values.size() == source->size();
    if (fits)
      values = detail::repeated(*source, values.size());
    else
      sources.note(name + ": expected " + std::to_string(values.size()) + " values" +
                   (is_expert ? ", a whole number of experts, found experts of " : ", found ") +
                   std::to_string(source->size()));
  }
  sources.check("optimiser tensors");
  sparse.steps = dense.steps;
  return sparse;
}

}  // namespace moevit
