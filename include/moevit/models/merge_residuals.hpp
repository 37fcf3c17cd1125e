/// Residual experts as plain ones, for inference: merge_residuals(net).
#pragma once

#include <moevit/models/cvt.hpp>
#include <moevit/models/detector.hpp>
#include <moevit/models/segmenter.hpp>
#include <moevit/models/swin.hpp>
#include <moevit/models/vmoe.hpp>
#include <moevit/moe/expert_names.hpp>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace moevit {

namespace detail {

/// The sparse part of a block with plain experts in place of residual ones.
template <class Sparse>
struct MergedPart;
template <class Router, class X, Index rank, MoeConfig moe>
struct MergedPart<SparseMlp<Router, ResidualExpertBank<X, rank>, moe>> {
  using type = SparseMlp<Router, ExpertBank<X>, moe>;
};
template <class Router, class X, Index rank, MoeConfig moe>
struct MergedPart<SoftMlp<Router, ResidualExpertBank<X, rank>, moe>> {
  using type = SoftMlp<Router, ExpertBank<X>, moe>;
};

/// A model with these sparse blocks: a V-MoE or Mobile V-MoE where it is one, whose files say so.
template <VitConfig config, class Sparse>
struct NamedVit {
  using Parts = MoeParts<config, Sparse::defaults>;
  using type = std::conditional_t<std::is_same_v<Sparse, typename Parts::PerPatch>, VMoe<config, Sparse::defaults>,
                                  std::conditional_t<std::is_same_v<Sparse, typename Parts::PerImage>,
                                                     MobileVMoe<config, Sparse::defaults>, Vit<config, Sparse>>>;
};

/// The type of the merged model, found by the model's base: a user's own types derive from these.
template <VitConfig config, class Sparse>
auto merged_type(const Vit<config, Sparse>&) -> typename NamedVit<config, typename MergedPart<Sparse>::type>::type;
template <SwinConfig config, MoeConfig moe, template <class> class Bank>
auto merged_type(const HierarchicalTransformer<SwinFamily<config, moe, Bank>>&) -> Swin<config, moe>;
template <CvtConfig config, MoeConfig moe, template <class> class Bank>
auto merged_type(const HierarchicalTransformer<CvtFamily<config, moe, Bank>>&) -> Cvt<config, moe>;
template <class Backbone, UperNetConfig head>
auto merged_type(const Segmenter<Backbone, head>&)
    -> Segmenter<decltype(merged_type(std::declval<const Backbone&>())), head>;
template <class Backbone, FcosConfig head>
auto merged_type(const Detector<Backbone, head>&)
    -> Detector<decltype(merged_type(std::declval<const Backbone&>())), head>;

/// What a merged parameter is made of, by its name: "P.moe.experts.L.kernel" of "P.moe.experts.core.L.kernel" and
/// "P.moe.experts.residual.L.kernel" or "....left.kernel" and "....right.kernel".
class ResidualSources {
 public:
  explicit ResidualSources(std::span<const ConstParameter> parameters) {
    for (const ConstParameter& parameter : parameters) sources_.emplace(parameter.name, &parameter);
  }

  /// The values of a parameter of the merged model.
  std::vector<float> values_of(const Parameter& target) const {
    const auto place = target.name.find(expert_part);
    if (place == std::string::npos) return find(target.name).values();
    const std::string prefix = target.name.substr(0, place + expert_part.size()),
                      layer = target.name.substr(prefix.size());
    const std::vector<float> core = find(prefix + "core." + layer).values();
    std::vector<float> values = residual_values(prefix + "residual." + layer, target);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += core[i % core.size()];
    return values;
  }

 private:
  const ConstParameter& find(const std::string& name) const {
    const auto found = sources_.find(name);
    if (found == sources_.end()) fail("merging residuals: expected a parameter ", name, ", found none of that name");
    return *found->second;
  }

  std::vector<float> residual_values(const std::string& name, const Parameter& target) const {
    if (sources_.contains(name)) return find(name).values();
    const std::string layer = name.substr(0, name.rfind('.'));
    const std::vector<float> left = find(layer + ".left.kernel").values(),
                             right = find(layer + ".right.kernel").values();
    const Index inputs = target.shape[1], outputs = target.shape[2];
    const Index rank = std::ssize(left) / (target.shape[0] * inputs);
    std::vector<float> values(static_cast<std::size_t>(target.size()));
    for (Index row = 0; row < target.shape[0] * inputs; ++row)  // of all experts
      for (Index r = 0; r < rank; ++r)
        simd::add_scaled_row(left[static_cast<std::size_t>(row * rank + r)],
                             right.data() + (row / inputs * rank + r) * outputs, outputs,
                             values.data() + row * outputs);
    return values;
  }

  std::map<std::string, const ConstParameter*> sources_;
};

}  // namespace detail

/// The same model with plain experts, each the sum of core and residual: it needs the memory of all sums, and none is
/// made on the way any more. Outputs have the same bits where residuals are whole; with factors they differ by
/// rounding. Unlike `net` it can be packed, see pack(). For training, keep the model that it comes from.
///
///     const auto plain = merge_residuals(net);    // Vit with ResidualExpertBank -> VMoe; Swin -> Swin; Cvt -> Cvt;
///     const auto small = pack<Int8>(plain);       // Segmenter and Detector with such a backbone
template <class Net>
auto merge_residuals(const Net& net) {
  decltype(detail::merged_type(net)) merged;
  const std::vector<ConstParameter> parameters = net.parameters();
  const detail::ResidualSources sources(parameters);
  for (const Parameter& target : merged.parameters()) target.assign(sources.values_of(target));
  merged.set_preprocessing(net.preprocessing());
  merged.set_class_names(net.class_names());
  return merged;
}

}  // namespace moevit
