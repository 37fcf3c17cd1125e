/// Parameters and multiply-adds of a model, computed from its numbers alone.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/models/layer_counts.hpp>
#include <moevit/models/swin_counts.hpp>

namespace moevit {

namespace detail {

constexpr Index mlp_parameters(const VitConfig& vit, Index hidden) {
  return linear_parameters(vit.dim, hidden, vit.mlp_bias) + linear_parameters(hidden, vit.dim, vit.mlp_bias);
}

constexpr Index attention_parameters(const VitConfig& vit) {
  const Index width = vit.attention_width();
  const Index norms = vit.qk_norm == QkNorm::none ? 0 : vit.qk_norm == QkNorm::scale ? 2 : 4;
  return linear_parameters(vit.dim, 3 * width, vit.qkv_bias) + linear_parameters(width, vit.dim, vit.projection_bias) +
         norms * vit.width_per_head();
}

/// Everything of a model but its MLPs, experts and routers.
constexpr Index common_parameters(const VitConfig& vit) {
  Index count = linear_parameters(vit.patch_values(), vit.dim) + (vit.has_class_token() ? vit.dim : 0);
  if (vit.positions == Positions::learned) count += vit.tokens() * vit.dim;
  count += vit.depth * (4 * vit.dim + attention_parameters(vit) + (vit.layer_scale ? 2 * vit.dim : 0));
  count += 2 * vit.dim;
  if (vit.head == Head::map)
    count += vit.dim + attention_parameters(vit) + 2 * vit.dim + mlp_parameters(vit, vit.hidden);
  if (vit.representation) count += linear_parameters(vit.dim, vit.representation);
  return count + (vit.classes ? linear_parameters(vit.features(), vit.classes) : 0);
}

constexpr Index router_parameters(const ModelDescription& model, Index sparse) {
  const Index dim = model.vit.dim, experts = model.moe.experts;
  if (model.family == ModelFamily::mobile_vmoe) return sparse ? linear_parameters(dim, experts) : 0;
  if (model.moe.router == RouterKind::random) return 0;
  if (model.moe.router == RouterKind::soft) return sparse * (dim * experts * model.moe.slots + 1);
  if (model.moe.router == RouterKind::cosine) return sparse * cosine_router_parameters(dim, experts);
  return sparse * dim * experts;
}

constexpr Index sparse_block_count(const ModelDescription& model) {
  return model.family == ModelFamily::vit ? 0 : model.moe.placement.sparse_blocks(model.vit.depth);
}

/// Parameters when every sparse block has `experts_in_use` experts.
constexpr Index parameters_with(const ModelDescription& model, Index experts_in_use) {
  if (model.is_swin()) return swin_parameters_with(model, experts_in_use);
  const Index sparse = sparse_block_count(model);
  return common_parameters(model.vit) + (model.vit.depth - sparse) * mlp_parameters(model.vit, model.vit.hidden) +
         sparse * experts_in_use * mlp_parameters(model.vit, model.moe.expert_hidden(model.vit)) +
         router_parameters(model, sparse);
}

/// Rows of one image that each sparse block's experts compute, buffer slots at this capacity ratio (1: one slot per
/// choice).
constexpr double expert_rows_per_image(const ModelDescription& model, double capacity_ratio) {
  const double tokens = static_cast<double>(model.vit.tokens());
  if (model.family == ModelFamily::mobile_vmoe) return tokens * static_cast<double>(model.moe.selected);
  switch (model.moe.router) {
    case RouterKind::soft:
      return static_cast<double>(model.moe.experts * model.moe.slots);
    case RouterKind::expert_choice:
      return tokens * capacity_ratio;
    default:
      return tokens * static_cast<double>(model.moe.selected) * capacity_ratio * static_cast<double>(model.moe.members);
  }
}

constexpr double expert_multiply_adds(const ModelDescription& model, double capacity_ratio) {
  if (model.is_swin()) return swin_expert_multiply_adds(model, capacity_ratio);
  const double row = static_cast<double>(2 * model.vit.dim * model.moe.expert_hidden(model.vit));
  return static_cast<double>(sparse_block_count(model)) * expert_rows_per_image(model, capacity_ratio) * row;
}

/// One image through everything but MLPs and experts: embedding, attention, routers, head; of a Swin transformer also
/// through its MLPs.
constexpr Index common_multiply_adds(const ModelDescription& model) {
  if (model.is_swin()) return swin_common_multiply_adds(model);
  const VitConfig& vit = model.vit;
  const Index tokens = vit.tokens(), width = vit.attention_width(), sparse = sparse_block_count(model);
  Index count = vit.patches() * vit.patch_values() * vit.dim;
  count += vit.depth * (tokens * vit.dim * 4 * width + 2 * tokens * tokens * width);
  if (sparse && model.family == ModelFamily::mobile_vmoe)
    count += vit.dim * model.moe.experts;
  else if (sparse && model.moe.router == RouterKind::soft)
    count += sparse * 3 * tokens * vit.dim * model.moe.experts * model.moe.slots;
  else if (sparse && model.moe.router == RouterKind::cosine)
    count += sparse * tokens * cosine_router_width * (vit.dim + model.moe.experts);
  else if (sparse && model.moe.router != RouterKind::random)
    count += sparse * tokens * vit.dim * model.moe.experts;
  if (vit.head == Head::map)
    count += 3 * tokens * vit.dim * width + 2 * tokens * width + width * vit.dim + 2 * vit.dim * vit.hidden;
  return count + vit.dim * vit.representation + (vit.classes ? vit.features() * vit.classes : 0);
}

}  // namespace detail

/// All parameters of a model, without making one.
constexpr Index parameter_count(const ModelDescription& model) {
  return detail::parameters_with(model, model.moe.experts);
}

/// Parameters that one token's way uses: k experts in every sparse block (all of them for soft routing). For Mobile
/// V-MoE that is what one image needs in memory at once.
constexpr Index active_parameters(const ModelDescription& model) {
  return detail::parameters_with(model, model.moe.router == RouterKind::soft ? model.moe.experts : model.moe.selected);
}

/// Multiply-adds of one image (twice that many floating-point operations). Experts count by their buffer slots, k *
/// ratio * tokens, as V-MoE's tables do; ratio 1 is one slot per choice. Before rounding of the capacity. Ensembles:
/// from the first sparse block on every member counts.
constexpr double multiply_adds(const ModelDescription& model, double capacity_ratio = 1.0) {
  const double mlps = model.is_swin() ? 0.
                                      : static_cast<double>((model.vit.depth - detail::sparse_block_count(model)) *
                                                            model.vit.tokens() * 2 * model.vit.dim * model.vit.hidden);
  return static_cast<double>(detail::common_multiply_adds(model)) + mlps +
         detail::expert_multiply_adds(model, capacity_ratio);
}

/// The share of the multiply-adds that is routed, in experts ("rho"; arXiv 2605.15484).
constexpr double routed_share(const ModelDescription& model, double capacity_ratio = 1.0) {
  return detail::expert_multiply_adds(model, capacity_ratio) / multiply_adds(model, capacity_ratio);
}

}  // namespace moevit
