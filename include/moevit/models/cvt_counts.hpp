/// Parameters of a CvT, computed from its numbers alone.
#pragma once

#include <moevit/models/counts.hpp>

namespace moevit {

namespace detail {

/// Everything of a block but its MLP or experts: norms; convolution, batch norm and projection of queries, keys and
/// values; output. Running statistics are no parameters.
constexpr Index cvt_attention_parameters(const CvtConfig& cvt, Index stage) {
  const Index dim = cvt.stage_dim(stage), kernel = CvtConfig::of(cvt.kernels, stage);
  const Index projection = kernel * kernel * dim + 2 * dim + linear_parameters(dim, dim, cvt.qkv_bias);
  return 4 * dim + 3 * projection + linear_parameters(dim, dim);
}

/// Convolution, norm, class token.
constexpr Index cvt_embedding_parameters(const CvtConfig& cvt, Index stage) {
  const Index dim = cvt.stage_dim(stage);
  return linear_parameters(cvt.embedding_window(stage).taps() * cvt.input_dim(stage), dim) + 2 * dim +
         cvt.class_tokens(stage) * dim;
}

constexpr Index cvt_mlp_parameters(Index dim, Index hidden) {
  return linear_parameters(dim, hidden) + linear_parameters(hidden, dim);
}

constexpr Index cvt_sparse_parameters(const ModelDescription& model, Index stage, Index experts_in_use) {
  const Index dim = model.cvt.stage_dim(stage), experts = model.moe.experts;
  const Index hidden = model.moe.hidden ? model.moe.hidden : model.cvt.hidden(stage);
  return experts_in_use * cvt_mlp_parameters(dim, hidden) +
         (model.moe.router == RouterKind::cosine ? cosine_router_parameters(dim, experts) : dim * experts);
}

}  // namespace detail

/// Parameters of a CvT when every sparse block has `experts_in_use` experts.
constexpr Index cvt_parameters_with(const ModelDescription& model, Index experts_in_use) {
  const CvtConfig& cvt = model.cvt;
  Index count = 2 * cvt.features() + (cvt.classes ? detail::linear_parameters(cvt.features(), cvt.classes) : 0);
  for (Index stage = 0; stage < cvt.stages(); ++stage) {
    count += detail::cvt_embedding_parameters(cvt, stage);
    for (Index block = cvt.first_block(stage); block < cvt.first_block(stage + 1); ++block) {
      count += detail::cvt_attention_parameters(cvt, stage);
      count += model.moe.placement.contains(block, cvt.blocks())
                   ? detail::cvt_sparse_parameters(model, stage, experts_in_use)
                   : detail::cvt_mlp_parameters(cvt.stage_dim(stage), cvt.hidden(stage));
    }
  }
  return count;
}

/// All parameters, and those that one token's way uses.
constexpr Index cvt_parameter_count(const ModelDescription& model) {
  return cvt_parameters_with(model, model.moe.experts);
}
constexpr Index cvt_active_parameters(const ModelDescription& model) {
  return cvt_parameters_with(model, model.moe.selected);
}

}  // namespace moevit
