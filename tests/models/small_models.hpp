/// One small model of every kind, with random weights, for the tests of what all models promise.
#pragma once

#include <moevit/moe/residual_expert_bank.hpp>
#include <moevit/moevit.hpp>

#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace small_models {

using namespace moevit;

inline constexpr VitConfig config{
    .image = 16, .patch = 4, .channels = 2, .dim = 20, .depth = 4, .heads = 2, .hidden = 36, .classes = 5};

struct DenseVit : Vit<config> {};
struct TopK : VMoe<config, MoeConfig{.experts = 6, .selected = 2}> {};
struct Renormalised
    : VMoe<config,
           MoeConfig{.experts = 6, .selected = 2, .placement = every(1), .renormalise = true, .bf16_dispatch = true}> {
};
struct ExpertChoice : VMoe<config, MoeConfig{.experts = 4, .router = RouterKind::expert_choice}> {};
struct Soft : VMoe<config, MoeConfig{.experts = 3, .router = RouterKind::soft, .slots = 2}> {};
struct Random : VMoe<config, MoeConfig{.experts = 5, .selected = 2, .router = RouterKind::random}> {};
struct Ensemble : VMoe<config, MoeConfig{.experts = 6, .selected = 1, .members = 2}> {};
struct Mobile : MobileVMoe<config, MoeConfig{.experts = 3, .selected = 1, .placement = last(2)}> {};
struct MobileTop2
    : MobileVMoe<config,
                 MoeConfig{
                     .experts = 3, .selected = 2, .placement = last(1), .router_input = RouterInput::first_token}> {};
using PlainMlp = Mlp<20, 36>;
struct Residual : Vit<config, SparseMlp<TopKRouter<20, 4>, ResidualExpertBank<PlainMlp>,
                                        MoeConfig{.experts = 4, .placement = every(2), .scale_by_gate = false}>> {};
struct LowRank : Vit<config, SparseMlp<TopKRouter<20, 4>, ResidualExpertBank<PlainMlp, 3>,
                                       MoeConfig{.experts = 4, .placement = every(2)}>> {};
inline constexpr SwinConfig swin_config{
    .image = 12, .patch = 2, .channels = 2, .dim = 8, .depths = {2, 2}, .heads = {1, 2}, .window = 4, .classes = 5};
struct DenseSwin : Swin<swin_config> {};
struct SwinMoe : Swin<swin_config, MoeConfig{.experts = 3, .selected = 2, .placement = every(2)}> {};
struct CosineSwin
    : Swin<swin_config, MoeConfig{.experts = 4, .selected = 1, .placement = last(2), .router = RouterKind::cosine}> {};
struct ResidualSwin : Swin<swin_config, MoeConfig{.experts = 3, .placement = last_odd(1)}, CoreAndResiduals> {};
/// A user's router for the whole model: an image whose first value is negative goes to expert 0, else to expert 1.
struct SignRouter {
  static constexpr Index dim = 20;
  static constexpr Index experts = 2;
  static constexpr RouterScope scope = RouterScope::model;
  void route(const RouteRequest& request, Routing& routing) const {
    routing.resize(request.images, experts);
    for (Index image = 0; image < request.images; ++image) {
      const float first = request.tokens(image * request.tokens_per_image, 0);
      routing.gates()(image, 0) = first < 0.f ? 1.f : 0.f;
      routing.gates()(image, 1) = 1.f - routing.gates()(image, 0);
    }
    if (!std::isfinite(request.tokens.sum())) fail("block ", request.block, ": expected finite tokens");
    assign_images(routing.gates(), request.tokens_per_image, request.options, routing.plan, routing.scratch);
  }
};
struct OwnRouterOfModel
    : Vit<config, SparseMlp<SignRouter, ExpertBank<PlainMlp>, MoeConfig{.experts = 2, .placement = last(2)}>> {};
struct MapHeadVit : Vit<VitConfig{.image = 12,
                                  .patch = 4,
                                  .channels = 1,
                                  .dim = 24,
                                  .depth = 2,
                                  .heads = 3,
                                  .hidden = 40,
                                  .classes = 4,
                                  .image_width = 20,
                                  .representation = 11,
                                  .head = moevit::Head::map,
                                  .positions = Positions::sincos2d,
                                  .qk_norm = QkNorm::scale,
                                  .layer_scale = true}> {};

/// A model whose weights are drawn from a seed.
template <class Net>
Net random_model() {
  Net net;
  std::mt19937 generator(7);
  std::normal_distribution<float> normal(0.f, 0.3f);
  for (const Parameter& parameter : net.parameters()) {
    if (parameter.role == Role::norm) continue;
    std::vector<float> values(static_cast<std::size_t>(parameter.size()));
    for (float& value : values) value = normal(generator);
    parameter.assign(values);
  }
  return net;
}

/// Calls visit(name, model) with every kind of model, weights drawn from a seed.
template <class Visit>
void for_each_model(Visit visit) {
  const auto make = [&]<class Net>(const char* name, const Net&) { visit(std::string(name), random_model<Net>()); };
  make("dense", DenseVit());
  make("top-k", TopK());
  make("renormalised, bf16", Renormalised());
  make("expert choice", ExpertChoice());
  make("soft", Soft());
  make("random", Random());
  make("ensemble", Ensemble());
  make("mobile", Mobile());
  make("mobile, two experts", MobileTop2());
  make("residual", Residual());
  make("low-rank residual", LowRank());
  make("own router of the model", OwnRouterOfModel());
  make("map head", MapHeadVit());
  make("Swin", DenseSwin());
  make("Swin, top-k", SwinMoe());
  make("Swin, cosine router", CosineSwin());
  make("Swin, residual", ResidualSwin());
}

/// Standard normal images for a model.
template <class Net>
std::vector<float> random_images(Index count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> images(static_cast<std::size_t>(count * Net::config.image_values()));
  for (float& value : images) value = normal(generator);
  return images;
}

/// Logits of images with a context.
template <class Net>
std::vector<float> run_model(const Net& net, std::span<const float> images, Context& context) {
  const Index count = static_cast<Index>(images.size()) / Net::config.image_values();
  std::vector<float> logits(static_cast<std::size_t>(count * Net::outputs_per_image * Net::config.outputs()));
  net.forward(images, logits, context);
  return logits;
}

}  // namespace small_models
