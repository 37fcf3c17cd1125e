/// The published models by name. Sources: the papers' tables and the authors' configurations.
#pragma once

#include <moevit/models/counts.hpp>
#include <moevit/models/vmoe.hpp>

namespace moevit {

namespace detail {

template <ModelDescription description>
struct ModelOf {
  using type = Vit<description.vit>;
};
template <ModelDescription description>
requires(description.family == ModelFamily::vmoe) struct ModelOf<description> {
  using type = VMoe<description.vit, description.moe>;
};
template <ModelDescription description>
requires(description.family == ModelFamily::mobile_vmoe) struct ModelOf<description> {
  using type = MobileVMoe<description.vit, description.moe>;
};

}  // namespace detail

/// The model type of a description: Model<presets::vmoe_s32_last2>.
template <ModelDescription description>
using Model = typename detail::ModelOf<description>::type;

namespace presets {

inline constexpr Index jft300m_classes = 18291;
inline constexpr Index jft3b_classes = 29593;
inline constexpr Index imagenet21k_classes = 21843;

/// The four widths of V-MoE (Riquelme et al. 2021); "S" has 8 layers of 512. JFT-300M head behind a tanh layer.
constexpr VitConfig vmoe_backbone(char size, Index patch) {
  VitConfig vit{.patch = patch, .classes = jft300m_classes};
  switch (size) {
    case 'S':
      vit.dim = 512, vit.depth = 8, vit.heads = 8, vit.hidden = 2048;
      break;
    case 'B':
      vit.dim = 768, vit.depth = 12, vit.heads = 12, vit.hidden = 3072;
      break;
    case 'L':
      vit.dim = 1024, vit.depth = 24, vit.heads = 16, vit.hidden = 4096;
      break;
    default:
      vit.dim = 1280, vit.depth = 32, vit.heads = 16, vit.hidden = 5120;
      break;
  }
  vit.representation = vit.dim;
  return vit;
}

/// A dense ViT.
constexpr ModelDescription dense(VitConfig vit) { return {ModelFamily::vit, vit, {.placement = no_blocks()}}; }

/// A V-MoE of the paper: 32 experts, two per token, V-MoE's dispatch in bfloat16.
constexpr ModelDescription vmoe(char size, Index patch, Placement placement) {
  return {ModelFamily::vmoe,
          vmoe_backbone(size, patch),
          {.experts = 32, .selected = 2, .placement = placement, .bf16_dispatch = true}};
}

/// The same with 8 experts and other classes, with or without the tanh layer, as in the published checkpoints.
constexpr ModelDescription vmoe_release(char size, Index patch, Placement placement, Index classes, bool tanh_layer) {
  ModelDescription model = vmoe(size, patch, placement);
  if (!tanh_layer) model.vit.representation = 0;
  model.vit.classes = classes;
  model.moe.experts = 8;
  return model;
}

inline constexpr ModelDescription vit_s32 = dense(vmoe_backbone('S', 32));
inline constexpr ModelDescription vit_b32 = dense(vmoe_backbone('B', 32));
inline constexpr ModelDescription vit_b16 = dense(vmoe_backbone('B', 16));
inline constexpr ModelDescription vit_l32 = dense(vmoe_backbone('L', 32));
inline constexpr ModelDescription vit_l16 = dense(vmoe_backbone('L', 16));
inline constexpr ModelDescription vit_h14 = dense(vmoe_backbone('H', 14));

inline constexpr ModelDescription vmoe_s32_every2 = vmoe('S', 32, every(2));
inline constexpr ModelDescription vmoe_s32_last2 = vmoe('S', 32, last_odd(2));
inline constexpr ModelDescription vmoe_b32_every2 = vmoe('B', 32, every(2));
inline constexpr ModelDescription vmoe_b32_last2 = vmoe('B', 32, last_odd(2));
inline constexpr ModelDescription vmoe_b16_every2 = vmoe('B', 16, every(2));
inline constexpr ModelDescription vmoe_b16_last2 = vmoe('B', 16, last_odd(2));
inline constexpr ModelDescription vmoe_l32_every2 = vmoe('L', 32, every(2));
inline constexpr ModelDescription vmoe_l32_last2 = vmoe('L', 32, last_odd(2));
inline constexpr ModelDescription vmoe_l16_every2 = vmoe('L', 16, every(2));
inline constexpr ModelDescription vmoe_l16_last2 = vmoe('L', 16, last_odd(2));
inline constexpr ModelDescription vmoe_h14_every2 = vmoe('H', 14, every(2));
inline constexpr ModelDescription vmoe_h14_last5 = vmoe('H', 14, last_odd(5));

/// The released checkpoints: S/32 trained on ImageNet-1k from scratch, B/16 on ImageNet-21k.
inline constexpr ModelDescription vmoe_s32_last2_release = vmoe_release('S', 32, last_odd(2), 1000, true);
inline constexpr ModelDescription vmoe_b16_every2_release = vmoe_release('B', 16, every(2), imagenet21k_classes, false);

/// The largest model of the paper: 24 sparse blocks of 48, JFT-3B head, no tanh layer.
inline constexpr ModelDescription vmoe_15b{
    ModelFamily::vmoe,
    {.patch = 14, .dim = 1408, .depth = 48, .heads = 16, .hidden = 6400, .classes = jft3b_classes},
    {.experts = 32, .selected = 2, .placement = every(2), .bf16_dispatch = true}};

/// Backbones named by "layers x dim": heads of 64 floats where the width allows, hidden width 4 dim, ImageNet-1k.
constexpr VitConfig layers_by_dim(Index depth, Index dim, Index patch) {
  return {.patch = patch,
          .dim = dim,
          .depth = depth,
          .heads = dim % 64 == 0 ? dim / 64 : dim / 32,
          .hidden = 4 * dim,
          .classes = 1000};
}

/// A Mobile V-MoE (Daxberger et al. 2023): 10 experts in the last two blocks, one per image.
constexpr ModelDescription mobile(Index depth, Index dim, Index patch) {
  return {
      ModelFamily::mobile_vmoe, layers_by_dim(depth, dim, patch), {.experts = 10, .selected = 1, .placement = last(2)}};
}

inline constexpr ModelDescription vit_tiny16 = dense(layers_by_dim(12, 192, 16));

inline constexpr ModelDescription mobile_vmoe_12x384 = mobile(12, 384, 16);
inline constexpr ModelDescription mobile_vmoe_12x192 = mobile(12, 192, 16);
inline constexpr ModelDescription mobile_vmoe_9x192 = mobile(9, 192, 16);
inline constexpr ModelDescription mobile_vmoe_6x192 = mobile(6, 192, 16);
inline constexpr ModelDescription mobile_vmoe_12x96 = mobile(12, 96, 16);
inline constexpr ModelDescription mobile_vmoe_9x96 = mobile(9, 96, 16);
inline constexpr ModelDescription mobile_vmoe_6x96 = mobile(6, 96, 16);
inline constexpr ModelDescription mobile_vmoe_12x64 = mobile(12, 64, 16);
inline constexpr ModelDescription mobile_vmoe_9x64 = mobile(9, 64, 16);
inline constexpr ModelDescription mobile_vmoe_6x64 = mobile(6, 64, 16);
/// The paper's smallest model, "54M": 6x64 with patches of 32 has 53 million operations, 6x96 has 51 million
/// multiply-adds.
inline constexpr ModelDescription mobile_vmoe_6x64_patch32 = mobile(6, 64, 32);
inline constexpr ModelDescription mobile_vmoe_6x96_patch32 = mobile(6, 96, 32);

/// Teacher-guided routing (Kada et al. 2026): DeiT with 16 experts, one per token, in blocks 8, 10 and 12 counted
/// from 1.
constexpr ModelDescription teacher_guided(Index dim) {
  VitConfig vit = layers_by_dim(12, dim, 16);
  vit.activation = Activation::gelu_erf;
  return {ModelFamily::vmoe, vit, {.experts = 16, .selected = 1, .placement = blocks({7, 9, 11})}};
}
inline constexpr ModelDescription tgr_tiny16 = teacher_guided(192);
inline constexpr ModelDescription tgr_small16 = teacher_guided(384);
inline constexpr ModelDescription tgr_base16 = teacher_guided(768);

/// Soft MoE (Puigcerver et al. 2023): mean head without class token, QK norm, soft experts in the last blocks, JFT-3B
/// head.
constexpr ModelDescription soft(Index dim, Index depth, Index heads, Index patch, Index sparse, Index experts,
                                Index slots = 1) {
  return {ModelFamily::vmoe,
          {.patch = patch,
           .dim = dim,
           .depth = depth,
           .heads = heads,
           .hidden = 4 * dim,
           .classes = jft3b_classes,
           .head = Head::mean,
           .qk_norm = QkNorm::scale},
          {.experts = experts,
           .placement = last(sparse),
           .router = RouterKind::soft,
           .slots = slots,
           .bf16_dispatch = true}};
}
inline constexpr ModelDescription soft_moe_s16 = soft(384, 12, 6, 16, 6, 128);
inline constexpr ModelDescription soft_moe_s14 = soft(384, 12, 6, 14, 6, 256);
inline constexpr ModelDescription soft_moe_b16 = soft(768, 12, 12, 16, 6, 128);
inline constexpr ModelDescription soft_moe_l16 = soft(1024, 24, 16, 16, 12, 128);
inline constexpr ModelDescription soft_moe_h14_128 = soft(1280, 32, 16, 14, 16, 128, 2);
inline constexpr ModelDescription soft_moe_h14_256 = soft(1280, 32, 16, 14, 16, 256);

}  // namespace presets
}  // namespace moevit
