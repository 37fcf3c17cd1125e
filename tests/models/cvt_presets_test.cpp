// The published totals of CvT models, reproduced by the presets without making a weight.
#include <moevit/models/cvt_presets.hpp>

#include "catch.hpp"
#include "models/counts_of_model.hpp"

namespace {

using namespace moevit;
using moevit::test::expect_counts_of_model;
using namespace moevit::presets;

// 20 M, 32 M and 277 M in the paper.
static_assert(parameter_count(cvt_13) == 19'997'480);
static_assert(parameter_count(cvt_21) == 31'622'696);
static_assert(parameter_count(cvt_w24) == 277'196'392);

/// Whether the multiply-adds are `published` billions to 1.5 %: what the paper's profiler leaves out is not said.
constexpr bool giga(const ModelDescription& model, double published) {
  const double ratio = multiply_adds(model) * 1e-9 / published;
  return ratio > 0.985 && ratio < 1.015;
}
static_assert(giga(cvt_13, 4.5) && giga(cvt_21, 7.1) && giga(cvt_w24, 193.2));

}  // namespace

TEST_CASE("the counted parameters are those that a CvT has") {
  constexpr CvtConfig tiny{.image = 20, .depths = {1, 2}, .dims = {8, 12}, .heads = {1, 2}, .classes = 5};
  constexpr CvtConfig rich{.image = 16,
                           .channels = 2,
                           .depths = {2, 1},
                           .dims = {6, 10},
                           .heads = {2, 1},
                           .patches = {3, 2},
                           .patch_strides = {2, 2},
                           .patch_paddings = {1, 0},
                           .kernels = {3, 5},
                           .query_paddings = {1, 2},
                           .key_value_paddings = {1, 2},
                           .mlp_ratios = {2.5f, 3.f},
                           .classes = 0,
                           .image_width = 24,
                           .class_token = false,
                           .qkv_bias = false};
  expect_counts_of_model<cvt(tiny)>();
  expect_counts_of_model<cvt(rich)>();
  expect_counts_of_model<cvt_13>();
  expect_counts_of_model<ModelDescription{
      .family = ModelFamily::cvt, .moe = {.experts = 3, .placement = every(2)}, .cvt = rich}>();
  expect_counts_of_model<ModelDescription{.family = ModelFamily::cvt,
                                          .moe = {.experts = 3, .placement = last(1), .router = RouterKind::cosine},
                                          .cvt = tiny}>();
}
