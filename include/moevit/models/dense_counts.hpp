/// Parameters and multiply-adds of segmenters and detectors.
#pragma once

#include <moevit/models/counts.hpp>
#include <moevit/models/dense_model.hpp>
#include <moevit/moe/expert_names.hpp>

namespace moevit {

namespace detail {

/// The backbone of a dense model for images of a size, without its classifier.
constexpr ModelDescription backbone_at(ModelDescription model, MapSize image) {
  const auto adapt = [&](auto& config) {
    config.image = image.height, config.image_width = image.width, config.classes = 0;
  };
  model.is_cvt() ? adapt(model.cvt) : adapt(model.swin);
  return model;
}

}  // namespace detail

/// Multiply-adds of the products of one image of a size: backbone and head. Capacity as in multiply_adds().
template <class Net>
double dense_multiply_adds(const Net& net, MapSize image, double capacity_ratio = 1.0) {
  return multiply_adds(detail::backbone_at(net.description(), image), capacity_ratio) +
         static_cast<double>(Net::HeadType::multiply_adds(Net::map_sizes(image)));
}

/// Parameters that a model has, and how many of them one token's way uses.
struct ParameterCounts {
  Index all = 0;
  Index active = 0;  ///< core and residual of an expert are one expert, as merge_residuals() makes it
};

/// Of any model, with experts or without. Running statistics are no parameters.
template <class Net>
ParameterCounts parameter_counts(const Net& net) {
  ParameterCounts counts;
  const MoeConfig moe = net.description().moe;
  for (const ConstParameter& parameter : net.parameters()) {
    if (parameter.role == Role::statistics) continue;
    counts.all += parameter.size();
    if (parameter.role == Role::expert)
      counts.active += parameter.size() / moe.experts * moe.selected;
    else if (!detail::is_expert_core(parameter.name))
      counts.active += parameter.size();
  }
  return counts;
}

}  // namespace moevit
