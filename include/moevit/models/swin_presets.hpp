/// The published Swin transformers by name. Sources: Liu et al. 2021, table 7 of its appendix; the authors' code for
/// Swin-MoE (Hwang et al. 2023).
#pragma once

#include <moevit/models/presets.hpp>
#include <moevit/models/swin.hpp>

namespace moevit {

namespace detail {

template <ModelDescription description>
requires(description.family == ModelFamily::swin) struct ModelOf<description> {
  using type = Swin<description.swin, description.moe>;
};

}  // namespace detail

namespace presets {

inline constexpr Index imagenet22k_classes = 21841;

/// A dense Swin: Model<presets::swin_t>.
constexpr ModelDescription swin(SwinConfig config) {
  return {.family = ModelFamily::swin, .moe = {.placement = no_blocks()}, .swin = config};
}
inline constexpr ModelDescription swin_t = swin({});
inline constexpr ModelDescription swin_s = swin({.depths = {2, 2, 18, 2}});
inline constexpr ModelDescription swin_b = swin({.dim = 128, .depths = {2, 2, 18, 2}, .heads = {4, 8, 16, 32}});
inline constexpr ModelDescription swin_l = swin({.dim = 192, .depths = {2, 2, 18, 2}, .heads = {6, 12, 24, 48}});

/// The same for images of 384 pixels, with windows of 12.
inline constexpr ModelDescription swin_b_384 =
    swin({.image = 384, .dim = 128, .depths = {2, 2, 18, 2}, .heads = {4, 8, 16, 32}, .window = 12});
inline constexpr ModelDescription swin_l_384 =
    swin({.image = 384, .dim = 192, .depths = {2, 2, 18, 2}, .heads = {6, 12, 24, 48}, .window = 12});

/// The same as a backbone for images of any size, with a norm behind every stage (Swin-T of detection and
/// segmentation: Model<presets::backbone(presets::swin_t)>).
constexpr ModelDescription backbone(ModelDescription model) {
  model.swin.classes = 0;
  model.swin.form = WindowForm::pad;
  for (Index stage = 0; stage < model.swin.stages(); ++stage)
    model.swin.output_norms[static_cast<std::size_t>(stage)] = true;
  return model;
}

/// Swin-MoE: images of 192 pixels, windows of 12, one of `experts` experts per token in the odd blocks of stage 3 and
/// in the last block, second layers without bias, ImageNet-22k. Its position biases come from a table here, where the
/// authors compute that table by a small MLP of the distances.
constexpr ModelDescription swin_moe(SwinConfig config, Index experts, RouterKind router = RouterKind::top_k) {
  config.image = 192, config.window = 12, config.classes = imagenet22k_classes, config.mlp_output_bias = false;
  return {.family = ModelFamily::swin,
          .moe = {.experts = experts, .selected = 1, .placement = last_odd(10), .router = router},
          .swin = config};
}
inline constexpr ModelDescription swin_moe_s_e8 = swin_moe(swin_s.swin, 8);
inline constexpr ModelDescription swin_moe_s_e16 = swin_moe(swin_s.swin, 16);
inline constexpr ModelDescription swin_moe_s_e32 = swin_moe(swin_s.swin, 32);
inline constexpr ModelDescription swin_moe_s_e32_cosine = swin_moe(swin_s.swin, 32, RouterKind::cosine);
inline constexpr ModelDescription swin_moe_b_e8 = swin_moe(swin_b.swin, 8);
inline constexpr ModelDescription swin_moe_b_e16 = swin_moe(swin_b.swin, 16);
inline constexpr ModelDescription swin_moe_b_e32 = swin_moe(swin_b.swin, 32);

}  // namespace presets
}  // namespace moevit
