#include "layers/layer_test.hpp"

#include <moevit/layers/block.hpp>

using namespace moevit;

namespace {

constexpr VitConfig plain{.image = 8, .patch = 2, .dim = 24, .depth = 1, .heads = 3, .hidden = 40};
constexpr VitConfig scaled{.image = 6,
                           .patch = 2,
                           .dim = 20,
                           .depth = 1,
                           .heads = 2,
                           .hidden = 33,
                           .head_width = 12,
                           .head = Head::mean,
                           .activation = Activation::relu,
                           .layer_scale = true,
                           .qkv_bias = false,
                           .projection_bias = false,
                           .mlp_bias = false,
                           .epsilon = 1e-3f};

template <VitConfig config>
void check_block() {
  constexpr Index images = 3, rows = images * config.tokens();
  DenseBlock<config> block;
  const auto parameters = test::collect([&](auto visit) { block.each_parameter(block, "blocks.0", visit); });
  test::randomise(parameters, 1);
  const std::vector<float> input = test::normal_values(rows * config.dim, 9);
  const std::vector<float> found = test::run_with_threads(block.scratch(images), [&](Workspace& workspace) {
    std::vector<float> stream = input;
    block.forward(MatrixView(stream.data(), rows, config.dim), workspace);
    return stream;
  });
  const ModelDescription model{ModelFamily::vit, config, MoeConfig{}};
  const reference::Weights weights(parameters);
  const reference::Matrix x(ConstMatrixView(input.data(), rows, config.dim));
  for (Index image = 0; image < images; ++image) {
    const reference::Matrix expected = reference::block(x.rows_of(image * config.tokens(), config.tokens()), 0, weights,
                                                        model, reference::Matrix(1, 0));
    const ConstMatrixView tokens(found.data() + image * config.tokens() * config.dim, config.tokens(), config.dim);
    CHECK(reference::relative_error(tokens, expected) < reference::rounding_tolerance(config.hidden + config.dim, 4));
  }
}

}  // namespace

TEST_CASE("a dense block agrees with plain loops") { check_block<plain>(); }

TEST_CASE("a dense block with layer scale, wide heads and no biases agrees with plain loops") { check_block<scaled>(); }
