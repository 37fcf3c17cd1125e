// Models with residual experts: where residuals are zero they are the dense model, bit for bit; merged ones are the
// same models with plain experts.
#include "catch.hpp"
#include "errors.hpp"
#include "random_values.hpp"
#include "same_bits.hpp"

#include <moevit/models/backpropagation.hpp>
#include <moevit/models/hierarchical_backpropagation.hpp>
#include <moevit/models/merge_residuals.hpp>
#include <moevit/models/packed.hpp>
#include <moevit/moevit.hpp>
#include <moevit/train/initialise.hpp>
#include <moevit/train/upcycling.hpp>

using namespace moevit;
using test::same_bits;

namespace {

constexpr VitConfig vit{
    .image = 16, .patch = 4, .channels = 2, .dim = 20, .depth = 4, .heads = 2, .hidden = 36, .classes = 5};
constexpr SwinConfig swin{.image = 16,
                          .patch = 2,
                          .channels = 1,
                          .dim = 12,
                          .depths = {2, 2, 0, 0},
                          .heads = {2, 3, 0, 0},
                          .window = 4,
                          .mlp_ratio = 2.f,
                          .classes = 3,
                          .mlp_output_bias = false};
constexpr CvtConfig cvt{.image = 16,
                        .channels = 1,
                        .depths = {2, 2, 0, 0},
                        .dims = {12, 20, 0, 0},
                        .heads = {2, 4, 0, 0},
                        .patches = {3, 3, 0, 0},
                        .patch_strides = {2, 2, 0, 0},
                        .patch_paddings = {1, 1, 0, 0},
                        .mlp_ratios = {2.f, 2.f, 0.f, 0.f},
                        .classes = 3,
                        .class_token = false};
constexpr MoeConfig dense_like{.experts = 4, .selected = 1, .placement = every(2), .scale_by_gate = false};
constexpr MoeConfig two_of_four{.experts = 4, .selected = 2, .placement = every(2)};

template <class X>
using OfRank3 = ResidualExpertBank<X, 3>;
template <template <class> class Bank, MoeConfig moe = dense_like>
struct ResidualVit : Vit<vit, SparseMlp<TopKRouter<vit.dim, moe.experts>, Bank<ConfiguredMlp<vit>>, moe>> {};
template <class Router, Index rank, MoeConfig moe = two_of_four>
struct RoutedVit : Vit<vit, SparseMlp<Router, ResidualExpertBank<ConfiguredMlp<vit>, rank>, moe>> {};
template <Index rank>
struct SoftVit
    : Vit<vit, SoftMlp<SoftRouter<vit.dim, 4, 2>, ResidualExpertBank<ConfiguredMlp<vit>, rank>,
                       MoeConfig{.experts = 4, .placement = every(2), .router = RouterKind::soft, .slots = 2}>> {};

template <class Net>
std::vector<float> images_of(Index count) {
  return test::normal_values(count * Net::config.image_values(), 5);
}
template <class Net>
std::vector<float> outputs_of(const Net& net, Index count, Index threads = 1) {
  Context context = net.context({.images = count, .threads = threads});
  std::vector<float> outputs(static_cast<std::size_t>(count * Net::config.outputs()));
  net.forward(images_of<Net>(count), outputs, context);
  return outputs;
}
template <class Net>
std::vector<float> outputs_of_training_pass(const Net& net, Index count) {
  Backpropagation run(net, {.images = count});
  std::vector<float> outputs(static_cast<std::size_t>(count * Net::config.outputs()));
  run.forward(net, images_of<Net>(count), outputs);
  return outputs;
}

/// A model without a zero among its weights.
template <class Net>
Net random_net() {
  Net net;
  test::randomise(net.parameters(), 3);
  return net;
}

template <class Dense, class Sparse>
void check_zero_residuals() {
  const Dense dense = random_net<Dense>();
  Sparse sparse;
  initialise(sparse.parameters(), {.seed = 2});
  upcycle(dense, sparse);
  for (const Index images : {1, 5}) {
    CHECK(same_bits(outputs_of(sparse, images), outputs_of(dense, images)));
    CHECK(same_bits(outputs_of(sparse, images, 3), outputs_of(dense, images)));
    CHECK(same_bits(outputs_of_training_pass(sparse, images), outputs_of_training_pass(dense, images)));
  }
  upcycle(dense, sparse, {.residual_deviation = 0.05});
  CHECK_FALSE(same_bits(outputs_of(sparse, 1), outputs_of(dense, 1)));
}

template <class Net>
void check_merged(bool is_exact) {
  const Net net = random_net<Net>();
  const auto merged = merge_residuals(net);
  const std::vector<float> expected = outputs_of(net, 3), found = outputs_of(merged, 3);
  if (is_exact) CHECK(same_bits(found, expected));
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == Approx(expected[i]).epsilon(1e-4).margin(1e-4));
  CHECK_FALSE(same_bits(found, std::vector<float>(found.size(), 0.f)));
}

template <class Net>
Index bytes_of(const Net& net) {
  Index bytes = 0;
  for (const ConstParameter& parameter : net.parameters()) bytes += parameter.size() * 4;
  return bytes;
}

}  // namespace

TEST_CASE("with one expert per token and zero residuals a sparse model is the dense one, bit for bit") {
  SECTION("ViT") { check_zero_residuals<Vit<vit>, ResidualVit<CoreAndResiduals>>(); }
  SECTION("ViT, low rank") { check_zero_residuals<Vit<vit>, ResidualVit<OfRank3>>(); }
  SECTION("Swin") { check_zero_residuals<Swin<swin>, Swin<swin, dense_like, CoreAndResiduals>>(); }
  SECTION("Swin, low rank") { check_zero_residuals<Swin<swin>, Swin<swin, dense_like, OfRank3>>(); }
  SECTION("CvT") { check_zero_residuals<Cvt<cvt>, Cvt<cvt, dense_like, CoreAndResiduals>>(); }
}

TEST_CASE("merged residual experts are plain ones, whatever the router") {
  SECTION("top-k") {
    check_merged<ResidualVit<CoreAndResiduals, two_of_four>>(true);
    check_merged<ResidualVit<OfRank3, two_of_four>>(false);
  }
  SECTION("cosine") { check_merged<RoutedVit<CosineRouter<vit.dim, 4>, full_rank>>(true); }
  SECTION("random") {  // hashes tokens, so that only equal bits are routed alike
    check_merged<RoutedVit<RandomRouter<vit.dim, 4>, full_rank>>(true);
  }
  SECTION("expert choice") { check_merged<RoutedVit<ExpertChoiceRouter<vit.dim, 4>, full_rank>>(true); }
  SECTION("per image") {
    check_merged<RoutedVit<PerImageRouter<vit.dim, 3>, full_rank, MoeConfig{.experts = 3, .placement = last(2)}>>(true);
  }
  SECTION("soft") {
    check_merged<SoftVit<full_rank>>(true);
    check_merged<SoftVit<3>>(false);
  }
  SECTION("Swin") {
    check_merged<Swin<swin, two_of_four, CoreAndResiduals>>(true);
    check_merged<Swin<swin, two_of_four, OfRank3>>(false);
  }
  SECTION("CvT") {
    check_merged<Cvt<cvt, two_of_four, CoreAndResiduals>>(true);
    check_merged<Cvt<cvt, two_of_four, OfRank3>>(false);
  }
}

TEST_CASE("segmenters and detectors with residual experts are merged as their backbones") {
  constexpr CvtConfig maps = [] {
    CvtConfig config = cvt;
    config.classes = 0;
    return config;
  }();
  using Residual = Cvt<maps, dense_like, CoreAndResiduals>;
  const auto check = [](const auto& net, const auto& merged) {
    constexpr MapSize size{15, 17};
    const std::vector<float> images = test::normal_values(2 * size.places(), 5);
    const auto forward = [&](const auto& model) {
      Context context = model.context({.images = 2}, size);
      std::vector<float> outputs(static_cast<std::size_t>(model.output_values(2, size)));
      model.forward(images, size, outputs, context);
      return outputs;
    };
    const std::vector<float> expected = forward(net);
    CHECK(same_bits(forward(merged), expected));
    CHECK_FALSE(same_bits(expected, std::vector<float>(expected.size(), 0.f)));
  };
  SECTION("segmenter") {
    constexpr UperNetConfig head{.width = 8, .classes = 2, .groups = 2};
    const auto net = random_net<Segmenter<Residual, head>>();
    const Segmenter<Cvt<maps, dense_like>, head> merged = merge_residuals(net);
    check(net, merged);
  }
  SECTION("detector") {
    constexpr FcosConfig head{.width = 8, .classes = 2, .extra_levels = 0, .towers = 1, .groups = 2};
    const auto net = random_net<Detector<Residual, head>>();
    const Detector<Cvt<maps, dense_like>, head> merged = merge_residuals(net);
    check(net, merged);
  }
}

TEST_CASE("merged models have the types of plain ones, and can be packed") {
  const auto net = random_net<ResidualVit<CoreAndResiduals, two_of_four>>();
  const auto merged = merge_residuals(net);
  CHECK(std::is_same_v<decltype(merged), const VMoe<vit, two_of_four>>);
  CHECK(merged.description().family == ModelFamily::vmoe);
  const std::vector<float> expected = outputs_of(merged, 3);
  const auto close = [&](const std::vector<float>& found, double tolerance) {
    double error = 0, size = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      error += std::pow(double{found[i]} - double{expected[i]}, 2);
      size += std::pow(double{expected[i]}, 2);
    }
    return error > 0 && error <= tolerance * tolerance * size;
  };
  CHECK(close(outputs_of(pack<Bf16>(merged), 3), 0.05));
  CHECK(close(outputs_of(pack<Int8>(merged), 3), 0.1));
  CHECK(std::is_same_v<decltype(merge_residuals(Cvt<cvt, two_of_four, OfRank3>())), Cvt<cvt, two_of_four>>);
  CHECK(std::is_same_v<decltype(merge_residuals(Swin<swin, two_of_four, OfRank3>())), Swin<swin, two_of_four>>);
}

TEST_CASE("core and residuals are stored once") {
  constexpr Index mlp = 2 * vit.dim * vit.hidden + vit.hidden + vit.dim, sparse = 2;
  using Low = ResidualVit<OfRank3>;
  const Index dense = bytes_of(Vit<vit>()), router = 4 * vit.dim * 4;
  CHECK(bytes_of(ResidualVit<CoreAndResiduals>()) == dense + sparse * (router + 4 * 4 * mlp));
  const Index factors = 2 * 3 * (vit.dim + vit.hidden) + vit.hidden + vit.dim;
  CHECK(bytes_of(Low()) == dense + sparse * (router + 4 * 4 * factors));
  CHECK(bytes_of(merge_residuals(Low())) == dense + sparse * (router + 3 * 4 * mlp));
  // Nor does a pass make copies: its scratch holds the sum of some columns of one expert, whatever their number is.
  using Many = ResidualVit<CoreAndResiduals, MoeConfig{.experts = 64, .placement = every(2)}>;
  using Few = ResidualVit<CoreAndResiduals, MoeConfig{.experts = 4, .placement = every(2)}>;
  CHECK(Many::scratch_bytes(8, 1) - Few::scratch_bytes(8, 1) < 4 * mlp);
}
