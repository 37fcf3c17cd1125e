/// V-MoE and Mobile V-MoE: a VitConfig and a MoeConfig name a model.
#pragma once

#include <moevit/models/vit.hpp>
#include <moevit/moe/cosine_router.hpp>
#include <moevit/moe/per_image_router.hpp>
#include <moevit/moe/top_k_router.hpp>

namespace moevit {

namespace detail {

template <VitConfig config, MoeConfig moe>
struct MoeParts {
  static_assert(moe.experts >= 1, "MoeConfig: experts must be at least 1");
  static_assert(moe.members >= 1 && moe.experts % moe.members == 0,
                "MoeConfig: experts must split evenly over the members of the ensemble");
  static_assert(moe.selected >= 1 && moe.selected <= moe.experts / moe.members,
                "MoeConfig: selected must be between 1 and the number of experts");
  static_assert(moe.members == 1 || moe.router == RouterKind::top_k, "MoeConfig: ensembles need the top_k router");
  static_assert(moe.router != RouterKind::soft || moe.slots >= 1,
                "MoeConfig: a soft router needs at least one slot per expert");

  using Experts = ExpertBank<ConfiguredMlp<config, moe.expert_hidden(config)>>;
  template <RouterKind kind>
  struct Choose {
    using type = SparseMlp<TopKRouter<config.dim, moe.experts, moe.members>, Experts, moe>;
  };
  template <RouterKind kind>
  requires(kind == RouterKind::expert_choice) struct Choose<kind> {
    using type = SparseMlp<ExpertChoiceRouter<config.dim, moe.experts>, Experts, moe>;
  };
  template <RouterKind kind>
  requires(kind == RouterKind::soft) struct Choose<kind> {
    using type = SoftMlp<SoftRouter<config.dim, moe.experts, moe.slots>, Experts, moe>;
  };
  template <RouterKind kind>
  requires(kind == RouterKind::random) struct Choose<kind> {
    using type = SparseMlp<RandomRouter<config.dim, moe.experts>, Experts, moe>;
  };
  template <RouterKind kind>
  requires(kind == RouterKind::cosine) struct Choose<kind> {
    using type = SparseMlp<CosineRouter<config.dim, moe.experts>, Experts, moe>;
  };
  using PerPatch = typename Choose<moe.router>::type;
  using PerImage = SparseMlp<PerImageRouter<config.dim, moe.experts, moe.router_input>, Experts, moe>;
};

}  // namespace detail

/// A V-MoE: a router in every sparse block, by default per patch (Riquelme et al. 2021). moe.router chooses expert
/// choice, soft or random routing instead, moe.members an efficient ensemble.
template <VitConfig config, MoeConfig moe>
struct VMoe : Vit<config, typename detail::MoeParts<config, moe>::PerPatch> {
  ModelDescription description() const { return {ModelFamily::vmoe, config, moe}; }
};

/// A Mobile V-MoE: one router per image for all sparse blocks, which must be the last ones (Daxberger et al. 2023).
template <VitConfig config, MoeConfig moe>
struct MobileVMoe : Vit<config, typename detail::MoeParts<config, moe>::PerImage> {
  static_assert(moe.router == RouterKind::top_k && moe.members == 1,
                "MobileVMoe: the per-image router is top_k without ensembles");
  ModelDescription description() const { return {ModelFamily::mobile_vmoe, config, moe}; }
};

}  // namespace moevit
