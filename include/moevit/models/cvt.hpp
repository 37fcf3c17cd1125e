/// Convolutional vision transformers (CvT), dense and with experts.
#pragma once

#include <moevit/layers/convolutional_attention.hpp>
#include <moevit/layers/convolutional_embedding.hpp>
#include <moevit/models/hierarchical.hpp>
#include <moevit/moe/stage_experts.hpp>

namespace moevit {

/// The parts of CvT (Wu et al. 2021) for HierarchicalTransformer. `Bank` makes a bank of experts from an MLP.
template <CvtConfig config_, MoeConfig moe_, template <class> class Bank>
struct CvtFamily {
  static constexpr CvtConfig config = config_;
  static constexpr MoeConfig moe = moe_;
  static constexpr Index stages = config.stages();
  static constexpr float epsilon = config.epsilon;
  static constexpr bool has_head = true;
  static constexpr VitConfig head = config.classifier_head();
  static_assert(config.image > 0 && config.channels > 0, "CvtConfig: image and channels must be positive");
  static_assert(moe.placement.rule == Placement::Rule::none || moe.router == RouterKind::top_k ||
                    moe.router == RouterKind::cosine,
                "Cvt: expected a top-k or cosine router");

  static constexpr Index depth(Index stage) { return config.depth(stage); }
  static constexpr Index first_block(Index stage) { return config.first_block(stage); }
  static constexpr bool has_output_norm(Index) { return false; }

  template <Index stage>
  using Embedding = ConvolutionalEmbedding<ConvolutionalEmbeddingConfig{.input_dim = config.input_dim(stage),
                                                                        .dim = config.stage_dim(stage),
                                                                        .window = config.embedding_window(stage),
                                                                        .class_tokens = config.class_tokens(stage),
                                                                        .epsilon = config.epsilon}>;
  template <Index stage>
  using Attention = ConvolutionalAttention<ConvolutionalAttentionConfig{
      .dim = config.stage_dim(stage),
      .heads = CvtConfig::of(config.heads, stage),
      .class_tokens = config.class_tokens(stage),
      .kernel = CvtConfig::of(config.kernels, stage),
      .query_padding = CvtConfig::of(config.query_paddings, stage),
      .key_value_stride = CvtConfig::of(config.key_value_strides, stage),
      .key_value_padding = CvtConfig::of(config.key_value_paddings, stage),
      .qkv_bias = config.qkv_bias,
      .statistics = config.batch_statistics ? NormStatistics::batch : NormStatistics::running,
      .epsilon = config.epsilon,
      .batch_epsilon = config.batch_epsilon}>;
  template <Index stage, Index hidden = config.hidden(stage)>
  using MlpOf = Mlp<config.stage_dim(stage), hidden, config.activation>;

  template <Index stage>
  using Sparse = StageExperts<MlpOf<stage, moe.expert_hidden(config.hidden(stage))>, moe, Bank>;

  static ModelDescription description() {
    return {.family = family_with_bank<Bank>(ModelFamily::cvt), .moe = moe, .cvt = config};
  }
};

/// A CvT: Cvt<config>, or with experts in the blocks that moe.placement names, counted over all stages. Inference folds
/// the batch norms into the convolutions before them on its way, so a trained model needs no step in between.
template <CvtConfig config, MoeConfig moe = MoeConfig{.placement = no_blocks()},
          template <class> class Bank = OwnExperts>
class Cvt : public HierarchicalTransformer<CvtFamily<config, moe, Bank>> {};

}  // namespace moevit
