// The published totals of Swin transformers, reproduced by the presets without making a weight.
#include <moevit/models/swin_presets.hpp>

#include "catch.hpp"

namespace {

using namespace moevit;
using namespace moevit::presets;

// 28 M, 50 M, 88 M, 197 M in the paper; to the parameter in timm's tables (28.29, 49.61, 87.77, 196.53) and the code.
static_assert(parameter_count(swin_t) == 28'288'354);
static_assert(parameter_count(swin_s) == 49'606'258);
static_assert(parameter_count(swin_b) == 87'768'224);
static_assert(parameter_count(swin_l) == 196'532'476);
// Larger windows have larger tables: 87.90 M and 196.74 M.
static_assert(parameter_count(swin_b_384) == 87'903'584);
static_assert(parameter_count(swin_l_384) == 196'735'516);

// 4.5 G, 8.7 G, 15.4 G, 34.5 G and, at 384 pixels, 47.1 G and 103.9 G multiply-adds (the authors' tables).
constexpr bool giga(const ModelDescription& model, double expected) {
  const double difference = multiply_adds(model) * 1e-9 - expected;
  return difference < 0.06 && difference > -0.06;
}
static_assert(giga(swin_t, 4.5) && giga(swin_s, 8.7) && giga(swin_b, 15.4) && giga(swin_l, 34.5));
static_assert(giga(swin_b_384, 47.1) && giga(swin_l_384, 103.9));

// Sparse are blocks 1, 3, ..., 17 of stage 3 and block 1 of stage 4.
static_assert([] {
  const Placement placement = swin_moe_s_e8.moe.placement;
  const SwinConfig& swin = swin_moe_s_e8.swin;
  for (Index block = 0; block < swin.blocks(); ++block) {
    const Index stage = block < 4 ? 0 : block < 22 ? 2 : 3;
    const bool is_sparse = stage >= 2 && (block - swin.first_block(stage)) % 2 == 1;
    if (placement.contains(block, swin.blocks()) != is_sparse) return false;
  }
  return placement.sparse_blocks(swin.blocks()) == 10;
}());
static_assert(active_parameters(swin_moe_s_e32) - active_parameters(swin_moe_s_e8) ==
              (32 - 8) * (9 * 384 + 768));  // the routers alone

template <ModelDescription description>
void expect_counts_of_model() {
  const Model<description> model;
  Index total = 0;
  for (const ConstParameter& parameter : model.parameters()) total += parameter.size();
  CHECK(total == parameter_count(description));
  CHECK(model.description() == description);
}

}  // namespace

TEST_CASE("the counted parameters are those that a Swin transformer has") {
  constexpr SwinConfig tiny{.image = 32, .dim = 12, .depths = {1, 2, 1}, .heads = {1, 2, 4}, .window = 3, .classes = 5};
  constexpr SwinConfig rich{.image = 16,
                            .patch = 2,
                            .channels = 2,
                            .dim = 12,
                            .depths = {1, 2},
                            .heads = {1, 2},
                            .window = 3,
                            .mlp_ratio = 2.5f,
                            .classes = 0,
                            .image_width = 24,
                            .absolute_positions = true,
                            .patch_norm = false,
                            .qkv_bias = false,
                            .mlp_output_bias = false};
  expect_counts_of_model<swin(tiny)>();
  expect_counts_of_model<swin(rich)>();
  expect_counts_of_model<backbone(swin(rich))>();
  expect_counts_of_model<swin_t>();
  expect_counts_of_model<ModelDescription{
      .family = ModelFamily::swin, .moe = {.experts = 3, .placement = every(2)}, .swin = rich}>();
  expect_counts_of_model<ModelDescription{.family = ModelFamily::swin,
                                          .moe = {.experts = 3, .placement = last(1), .router = RouterKind::cosine},
                                          .swin = tiny}>();
}
