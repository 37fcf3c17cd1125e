/// Parameters and multiply-adds of a CvT, computed from its numbers alone; models/counts.hpp asks for them.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/models/layer_counts.hpp>

namespace moevit::detail {

constexpr bool cvt_is_sparse(const ModelDescription& model, Index block) {
  return model.moe.placement.contains(block, model.cvt.blocks());
}

constexpr Index cvt_mlp_parameters(Index dim, Index hidden) {
  return linear_parameters(dim, hidden) + linear_parameters(hidden, dim);
}

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

constexpr Index cvt_sparse_parameters(const ModelDescription& model, Index stage, Index experts_in_use) {
  const Index dim = model.cvt.stage_dim(stage), experts = model.moe.experts;
  return experts_in_use * cvt_mlp_parameters(dim, model.moe.expert_hidden(model.cvt.hidden(stage))) +
         (model.moe.router == RouterKind::cosine ? cosine_router_parameters(dim, experts) : dim * experts);
}

/// Parameters when every sparse block has `experts_in_use` experts.
constexpr Index cvt_parameters_with(const ModelDescription& model, Index experts_in_use) {
  const CvtConfig& cvt = model.cvt;
  Index count = 2 * cvt.features() + (cvt.classes ? linear_parameters(cvt.features(), cvt.classes) : 0);
  for (Index stage = 0; stage < cvt.stages(); ++stage) {
    count += cvt_embedding_parameters(cvt, stage);
    for (Index block = cvt.first_block(stage); block < cvt.first_block(stage + 1); ++block)
      count += cvt_attention_parameters(cvt, stage) +
               (cvt_is_sparse(model, block) ? cvt_sparse_parameters(model, stage, experts_in_use)
                                            : cvt_mlp_parameters(cvt.stage_dim(stage), cvt.hidden(stage)));
  }
  return count;
}

/// One image through the attention of a block: convolutions, projections, scores and their sums, output.
constexpr Index cvt_attention_multiply_adds(const CvtConfig& cvt, Index stage) {
  const Index dim = cvt.stage_dim(stage), taps = CvtConfig::of(cvt.kernels, stage) * CvtConfig::of(cvt.kernels, stage);
  const ConvolutionWindow window{CvtConfig::of(cvt.kernels, stage), CvtConfig::of(cvt.key_value_strides, stage),
                                 CvtConfig::of(cvt.key_value_paddings, stage)};
  const Index places = cvt.map(stage).places(), key_places = window.result_size(cvt.map(stage)).places();
  const Index tokens = places + cvt.class_tokens(stage), keys = key_places + cvt.class_tokens(stage);
  return (places + 2 * key_places) * taps * dim + (2 * tokens + 2 * keys) * dim * dim + 2 * tokens * keys * dim;
}

/// One image through everything but experts.
constexpr Index cvt_common_multiply_adds(const ModelDescription& model) {
  const CvtConfig& cvt = model.cvt;
  Index count = cvt.features() * cvt.classes;
  for (Index stage = 0; stage < cvt.stages(); ++stage) {
    const Index dim = cvt.stage_dim(stage), places = cvt.map(stage).places();
    const Index tokens = places + cvt.class_tokens(stage);
    count += places * dim * cvt.embedding_window(stage).taps() * cvt.input_dim(stage);
    for (Index block = cvt.first_block(stage); block < cvt.first_block(stage + 1); ++block) {
      count += cvt_attention_multiply_adds(cvt, stage);
      if (!cvt_is_sparse(model, block))
        count += tokens * 2 * dim * cvt.hidden(stage);
      else if (model.moe.router == RouterKind::cosine)
        count += tokens * cosine_router_width * (dim + model.moe.experts);
      else
        count += tokens * dim * model.moe.experts;
    }
  }
  return count;
}

constexpr double cvt_expert_multiply_adds(const ModelDescription& model, double capacity_ratio) {
  const CvtConfig& cvt = model.cvt;
  double count = 0;
  for (Index stage = 0; stage < cvt.stages(); ++stage)
    for (Index block = cvt.first_block(stage); block < cvt.first_block(stage + 1); ++block)
      if (cvt_is_sparse(model, block)) {
        const Index tokens = cvt.map(stage).places() + cvt.class_tokens(stage);
        count += capacity_ratio * static_cast<double>(tokens * model.moe.selected * 2 * cvt.stage_dim(stage) *
                                                      model.moe.expert_hidden(model.cvt.hidden(stage)));
      }
  return count;
}

}  // namespace moevit::detail
