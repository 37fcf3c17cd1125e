/// Parameters and multiply-adds of a Swin transformer, computed from its numbers alone; models/counts.hpp asks for
/// them.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/models/layer_counts.hpp>

namespace moevit::detail {

constexpr bool swin_is_sparse(const ModelDescription& model, Index stage, Index block) {
  return model.moe.placement.contains(model.swin.first_block(stage) + block, model.swin.blocks());
}
constexpr Index swin_expert_hidden(const ModelDescription& model, Index stage) {
  return model.moe.hidden ? model.moe.hidden : model.swin.hidden(stage);
}

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
  return experts_in_use * swin_mlp_parameters(model.swin, dim, swin_expert_hidden(model, stage)) +
         (model.moe.router == RouterKind::cosine ? cosine_router_parameters(dim, experts) : dim * experts);
}

/// Parameters when every sparse block has `experts_in_use` experts.
constexpr Index swin_parameters_with(const ModelDescription& model, Index experts_in_use) {
  const SwinConfig& swin = model.swin;
  Index count = 0;
  for (Index stage = 0; stage < swin.stages(); ++stage) {
    count += swin_embedding_parameters(swin, stage);
    for (Index block = 0; block < swin.depth(stage); ++block)
      count +=
          swin_attention_parameters(swin, stage) +
          (swin_is_sparse(model, stage, block) ? swin_sparse_parameters(model, stage, experts_in_use)
                                               : swin_mlp_parameters(swin, swin.stage_dim(stage), swin.hidden(stage)));
  }
  if (swin.has_output_norms()) return count;
  return count + 2 * swin.features() + (swin.classes ? linear_parameters(swin.features(), swin.classes) : 0);
}

/// One image of the configured size through everything but experts; windows count with their padding.
constexpr Index swin_common_multiply_adds(const ModelDescription& model) {
  const SwinConfig& swin = model.swin;
  Index count = 0;
  for (Index stage = 0; stage < swin.stages(); ++stage) {
    const Index dim = swin.stage_dim(stage), window = swin.stage_window(stage), places = swin.map(stage).places();
    const Index padded = round_up(swin.map(stage).height, window) * round_up(swin.map(stage).width, window);
    count += places * dim * (stage > 0 ? 2 * dim : swin.patch * swin.patch * swin.channels);
    for (Index block = 0; block < swin.depth(stage); ++block) {
      count += padded * 3 * dim * dim + 2 * padded * window * window * dim + places * dim * dim;
      if (!swin_is_sparse(model, stage, block))
        count += places * 2 * dim * swin.hidden(stage);
      else if (model.moe.router == RouterKind::cosine)
        count += places * cosine_router_width * (dim + model.moe.experts);
      else
        count += places * dim * model.moe.experts;
    }
  }
  return count + (swin.has_output_norms() ? 0 : swin.features() * swin.classes);
}

constexpr double swin_expert_multiply_adds(const ModelDescription& model, double capacity_ratio) {
  double count = 0;
  for (Index stage = 0; stage < model.swin.stages(); ++stage)
    for (Index block = 0; block < model.swin.depth(stage); ++block)
      if (swin_is_sparse(model, stage, block))
        count += capacity_ratio * static_cast<double>(model.swin.map(stage).places() * model.moe.selected * 2 *
                                                      model.swin.stage_dim(stage) * swin_expert_hidden(model, stage));
  return count;
}

}  // namespace moevit::detail
