/// Swin transformers, dense and with experts.
#pragma once

#include <moevit/layers/map_patch_embedding.hpp>
#include <moevit/layers/patch_merging.hpp>
#include <moevit/layers/window_attention.hpp>
#include <moevit/models/hierarchical.hpp>
#include <moevit/moe/stage_experts.hpp>

namespace moevit {

/// The parts of Swin (Liu et al. 2021) for HierarchicalTransformer. `Bank` makes a bank of experts from an MLP.
template <SwinConfig config_, MoeConfig moe_, template <class> class Bank>
struct SwinFamily {
  static constexpr SwinConfig config = config_;
  static constexpr MoeConfig moe = moe_;
  static constexpr Index stages = config.stages();
  static constexpr float epsilon = config.epsilon;
  static constexpr bool has_head = !config.has_output_norms();
  static constexpr VitConfig head = config.classifier_head();
  static_assert(config.image > 0 && config.patch > 0 && config.channels > 0 && config.dim > 0 && config.window > 0,
                "SwinConfig: image, patch, channels, dim and window must be positive");

  static_assert(moe.placement.rule == Placement::Rule::none || moe.members == 1,
                "MoeConfig: a Swin transformer is no ensemble");
  static_assert(moe.placement.rule == Placement::Rule::none ||
                    (moe.experts >= 1 && moe.selected >= 1 && moe.selected <= moe.experts),
                "MoeConfig: selected must be between 1 and the number of experts");
  static_assert(moe.placement.rule == Placement::Rule::none || moe.router == RouterKind::top_k ||
                    moe.router == RouterKind::cosine,
                "MoeConfig: the routers of a Swin transformer are top_k or cosine");

  static constexpr Index depth(Index stage) { return config.depth(stage); }
  static constexpr Index first_block(Index stage) { return config.first_block(stage); }
  static constexpr bool has_output_norm(Index stage) { return config.output_norms[static_cast<std::size_t>(stage)]; }

  template <Index stage>
  struct EmbeddingOf {
    using type = PatchMerging<PatchMergingConfig{
        .dim = config.stage_dim(stage - 1), .result_dim = config.stage_dim(stage), .epsilon = config.epsilon}>;
  };
  template <Index stage>
  requires(stage == 0) struct EmbeddingOf<stage> {
    using type = MapPatchEmbedding<MapPatchConfig{.patch = config.patch,
                                                  .channels = config.channels,
                                                  .dim = config.dim,
                                                  .norm = config.patch_norm,
                                                  .positions = config.absolute_positions ? config.map(0) : MapSize{},
                                                  .epsilon = config.epsilon}>;
  };
  template <Index stage>
  using Embedding = typename EmbeddingOf<stage>::type;
  template <Index stage>
  using Attention = WindowAttention<WindowAttentionConfig{.dim = config.stage_dim(stage),
                                                          .heads = config.stage_heads(stage),
                                                          .window = config.stage_window(stage),
                                                          .shift = config.stage_shift(stage),
                                                          .qkv_bias = config.qkv_bias,
                                                          .epsilon = config.epsilon}>;
  template <Index stage, Index hidden = config.hidden(stage)>
  using MlpOf = Mlp<config.stage_dim(stage), hidden, config.activation, true, config.mlp_output_bias>;

  template <Index stage>
  using Sparse = StageExperts<MlpOf<stage, moe.expert_hidden(config.hidden(stage))>, moe, Bank>;

  static ModelDescription description() {
    return {.family = family_with_bank<Bank>(ModelFamily::swin), .moe = moe, .swin = config};
  }
};

/// A Swin transformer: Swin<config>, or with experts in the blocks that moe.placement names, counted over all stages.
template <SwinConfig config, MoeConfig moe = MoeConfig{.placement = no_blocks()},
          template <class> class Bank = OwnExperts>
class Swin : public HierarchicalTransformer<SwinFamily<config, moe, Bank>> {};

}  // namespace moevit
