/// Parameters of a Swin transformer, computed from its numbers alone.
#pragma once

#include <moevit/models/counts.hpp>

namespace moevit {

namespace detail {

constexpr Index swin_mlp_parameters(const SwinConfig& swin, Index dim, Index hidden) {
  return linear_parameters(dim, hidden) + linear_parameters(hidden, dim, swin.mlp_output_bias);
}

/// Everything of a block but its MLP or experts.
constexpr Index swin_attention_parameters(const SwinConfig& swin, Index stage) {
  const Index dim = swin.stage_dim(stage), side = 2 * swin.stage_window(stage) - 1;
  return 4 * dim + linear_parameters(dim, 3 * dim, swin.qkv_bias) + linear_parameters(dim, dim) +
         side * side * swin.stage_heads(stage);
}

/// Embedding of a stage and the norm of its output.
constexpr Index swin_embedding_parameters(const SwinConfig& swin, Index stage) {
  const Index dim = swin.stage_dim(stage);
  const Index norm = swin.output_norms[static_cast<std::size_t>(stage)] ? 2 * dim : 0;
  if (stage > 0) return norm + 4 * dim + 2 * dim * dim;  // of 4 places of half the width, joined
  return norm + linear_parameters(swin.patch * swin.patch * swin.channels, dim) + (swin.patch_norm ? 2 * dim : 0) +
         (swin.absolute_positions ? swin.map(0).places() * dim : 0);
}

constexpr Index swin_sparse_parameters(const ModelDescription& model, Index stage, Index experts_in_use) {
  const Index dim = model.swin.stage_dim(stage), experts = model.moe.experts;
  const Index hidden = model.moe.hidden ? model.moe.hidden : model.swin.hidden(stage);
  return experts_in_use * swin_mlp_parameters(model.swin, dim, hidden) +
         (model.moe.router == RouterKind::cosine ? cosine_router_parameters(dim, experts) : dim * experts);
}

}  // namespace detail

/// Parameters of a Swin transformer when every sparse block has `experts_in_use` experts.
constexpr Index swin_parameters_with(const ModelDescription& model, Index experts_in_use) {
  const SwinConfig& swin = model.swin;
  Index count = 0;
  for (Index stage = 0; stage < swin.stages(); ++stage) {
    const Index dim = swin.stage_dim(stage);
    count += detail::swin_embedding_parameters(swin, stage);
    for (Index block = 0; block < swin.depth(stage); ++block) {
      count += detail::swin_attention_parameters(swin, stage);
      count += model.moe.placement.contains(swin.first_block(stage) + block, swin.blocks())
                   ? detail::swin_sparse_parameters(model, stage, experts_in_use)
                   : detail::swin_mlp_parameters(swin, dim, swin.hidden(stage));
    }
  }
  if (swin.has_output_norms()) return count;
  return count + 2 * swin.features() + (swin.classes ? detail::linear_parameters(swin.features(), swin.classes) : 0);
}

/// All parameters, and those that one token's way uses.
constexpr Index swin_parameter_count(const ModelDescription& model) {
  return swin_parameters_with(model, model.moe.experts);
}
constexpr Index swin_active_parameters(const ModelDescription& model) {
  return swin_parameters_with(model, model.moe.selected);
}

}  // namespace moevit
