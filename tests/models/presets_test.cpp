// The published totals, reproduced by the presets without making a weight.
#include <moevit/models/presets.hpp>

#include "catch.hpp"
#include "models/counts_of_model.hpp"

namespace {

using namespace moevit;
using moevit::test::expect_counts_of_model;
using namespace moevit::presets;

constexpr bool near(double value, double expected, double tolerance) {
  return value - expected < tolerance && expected - value < tolerance;
}
constexpr bool millions(const ModelDescription& model, double expected) {
  return near(static_cast<double>(parameter_count(model)) * 1e-6, expected, 0.05 + 1e-9);
}
constexpr bool active_millions(const ModelDescription& model, double expected) {
  return near(static_cast<double>(active_parameters(model)) * 1e-6, expected, 0.05 + 1e-9);
}
constexpr bool giga(const ModelDescription& model, double expected, double tolerance) {
  return near(multiply_adds(model) * 1e-9, expected, tolerance);
}

// V-MoE, table 8 of the paper.
static_assert(millions(vit_s32, 36.5) && millions(vmoe_s32_every2, 296.9) && millions(vmoe_s32_last2, 166.7));
static_assert(millions(vit_b32, 102.1) && millions(vmoe_b32_every2, 980.6) && near(394.9515, 395.0, 0.05) &&
              millions(vmoe_b32_last2, 395.0));
static_assert(millions(vit_b16, 100.5) && millions(vmoe_b16_every2, 979.0) && millions(vmoe_b16_last2, 393.3));
static_assert(millions(vit_l32, 325.3) && millions(vmoe_l32_every2, 3448.2) && millions(vmoe_l32_last2, 845.8));
static_assert(millions(vit_l16, 323.1) && millions(vmoe_l16_every2, 3446.0) && millions(vmoe_l16_last2, 843.6));
static_assert(millions(vit_h14, 655.8) && millions(vmoe_h14_every2, 7160.8) && millions(vmoe_h14_last5, 2688.6));
static_assert(millions(vmoe_15b, 14705.1));
static_assert(millions(vmoe_s32_last2_release, 57.0) && active_millions(vmoe_s32_last2_release, 31.8));
static_assert(millions(vmoe_b16_every2_release, 301.0) && active_millions(vmoe_b16_every2_release, 131.0));
static_assert(active_millions(vmoe_s32_every2, 44.9) && active_millions(vmoe_l16_last2, 340.0) &&
              active_millions(vmoe_h14_last5, 721.6));

// Mobile V-MoE: 11.05 M, and 6.31 M active with two experts.
static_assert(near(parameter_count(mobile_vmoe_12x192) * 1e-6, 11.045, 0.001) &&
              near(parameter_count(vit_tiny16) * 1e-6, 5.717, 0.001));
static_assert([] {
  ModelDescription two = mobile_vmoe_12x192;
  two.moe.selected = 2;
  return near(static_cast<double>(active_parameters(two)) * 1e-6, 6.311, 0.001);
}());
static_assert(millions(mobile_vmoe_12x384, 43.3) && millions(mobile_vmoe_9x192, 9.7) &&
              millions(mobile_vmoe_6x192, 8.4));
static_assert(millions(mobile_vmoe_12x96, 2.9) && millions(mobile_vmoe_9x96, 2.5) && millions(mobile_vmoe_6x96, 2.2));
static_assert(millions(mobile_vmoe_12x64, 1.3) && millions(mobile_vmoe_9x64, 1.2) && millions(mobile_vmoe_6x64, 1.0));
static_assert(giga(mobile_vmoe_12x192, 1.254, 0.001) && giga(mobile_vmoe_6x64_patch32, 0.0264, 0.0001) &&
              giga(mobile_vmoe_6x96_patch32, 0.051, 0.001));

// Teacher-guided routing and Soft MoE.
static_assert(millions(tgr_tiny16, 19.0) && millions(tgr_small16, 75.2) && millions(tgr_base16, 299.1));
static_assert(millions(soft_moe_s16, 933.7) && millions(soft_moe_s14, 1841.4) && millions(soft_moe_b16, 3707.6));
static_assert(near(parameter_count(soft_moe_l16) * 1e-6, 13127, 0.5) &&
              near(parameter_count(soft_moe_h14_128) * 1e-6, 27321, 0.5) &&
              near(parameter_count(soft_moe_h14_256) * 1e-6, 54177, 0.5));
static_assert(giga(soft_moe_s16, 4.28, 0.005) && giga(soft_moe_b16, 15.9, 0.05) && giga(soft_moe_h14_256, 170.7, 0.05));

// Multiply-adds, and relative costs at capacity 1.05 against ViT-H/14 (V-MoE, table 2): slots count, not tokens.
static_assert(giga(vit_s32, 1.37, 0.005) && giga(vmoe_s32_every2, 1.79, 0.005) && giga(vmoe_l16_every2, 81.5, 0.05) &&
              giga(vmoe_h14_every2, 221.4, 0.05) && giga(vmoe_15b, 441, 0.5));
constexpr double share_of_h14(const ModelDescription& model, double ratio) {
  return multiply_adds(model, ratio) / multiply_adds(vit_h14);
}
static_assert(near(share_of_h14(vmoe_l16_last2, 1.05), 0.390, 0.0005) &&
              near(share_of_h14(vmoe_l16_every2, 1.05), 0.499, 0.0005));
static_assert(near(share_of_h14(vmoe_h14_last5, 1.05), 1.111, 0.0005) &&
              near(share_of_h14(vmoe_h14_every2, 1.05), 1.355, 0.0005));
static_assert(near(share_of_h14(vmoe_h14_last5, 0.5), 1.000, 0.0005));
static_assert(near(routed_share(vmoe_s32_every2), 0.469, 0.001) && routed_share(vit_s32) == 0.);

// "Last-2" of 8 are blocks 5 and 7, "Last-5" of 32 are 23, 25, ..., 31.
static_assert(last_odd(2).contains(5, 8) && last_odd(2).contains(7, 8) && last_odd(2).sparse_blocks(8) == 2);
static_assert(last_odd(5).first(32) == 23 && last_odd(5).sparse_blocks(32) == 5 && !last_odd(5).contains(24, 32));
static_assert(every(2).contains(1, 12) && !every(2).contains(0, 12) && every(2).sparse_blocks(12) == 6);
static_assert(last(2).is_contiguous_end(12) && !last_odd(2).is_contiguous_end(12) &&
              blocks({7, 9, 11}).sparse_blocks(12) == 3);
static_assert(last_odd(1).contains(3, 5) && !last_odd(1).contains(4, 5));

}  // namespace

TEST_CASE("the counted parameters are those that a model has") {
  constexpr VitConfig tiny{
      .image = 16, .patch = 8, .channels = 2, .dim = 24, .depth = 4, .heads = 2, .hidden = 40, .classes = 5};
  constexpr VitConfig rich{.image = 16,
                           .patch = 8,
                           .dim = 24,
                           .depth = 3,
                           .heads = 2,
                           .hidden = 32,
                           .classes = 7,
                           .image_width = 24,
                           .head_width = 8,
                           .representation = 20,
                           .head = Head::map,
                           .qk_norm = QkNorm::scale_and_bias,
                           .layer_scale = true,
                           .qkv_bias = false,
                           .projection_bias = false,
                           .mlp_bias = false};
  expect_counts_of_model<dense(tiny)>();
  expect_counts_of_model<dense(rich)>();
  expect_counts_of_model<ModelDescription{ModelFamily::vmoe, tiny, {.experts = 6, .selected = 2, .hidden = 16}}>();
  expect_counts_of_model<ModelDescription{
      ModelFamily::vmoe, tiny, {.experts = 4, .router = RouterKind::soft, .slots = 3}}>();
  expect_counts_of_model<ModelDescription{
      ModelFamily::vmoe, rich, {.experts = 4, .placement = every(1), .router = RouterKind::expert_choice}}>();
  expect_counts_of_model<ModelDescription{ModelFamily::vmoe, tiny, {.experts = 4, .router = RouterKind::random}}>();
  expect_counts_of_model<ModelDescription{ModelFamily::vmoe, tiny, {.experts = 4, .members = 2}}>();
  expect_counts_of_model<ModelDescription{ModelFamily::mobile_vmoe, tiny, {.experts = 3, .placement = last(2)}}>();
}
