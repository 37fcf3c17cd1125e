#include "layers/layer_test.hpp"
#include "same_bits.hpp"

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

/// A wide hidden layer, so that training passes take a few images at a time.
constexpr VitConfig wide{.image = 8, .patch = 2, .dim = 8, .depth = 1, .heads = 2, .hidden = 2048};
constexpr Index wide_images = 40, wide_parts = 3;
static_assert(ceil_div(wide_images * wide.tokens(), training_rows<wide>()) == wide_parts);

template <class Visit>
void each_wide_parameter(DenseBlock<wide>& block, Visit visit) {
  block.each_parameter(block, "blocks.0", visit);
}

/// The gradients of parameters and input, one after the other, where passes take so many images in each call.
std::vector<float> gradients_of(const DenseBlock<wide>& block, const std::vector<Index>& images, Index threads) {
  const Index rows = wide_images * wide.tokens();
  const std::vector<float> x = test::normal_values(rows * wide.dim, 8);
  std::vector<float> d = test::normal_values(rows * wide.dim, 9), y(d.size());
  ThreadPool pool(threads);
  Workspace workspace(block.training_scratch(wide_images), pool);
  DenseBlock<wide> grads;
  const auto sums = test::collect([&](auto visit) { each_wide_parameter(grads, visit); });
  for (const Parameter& sum : sums) sum.assign(std::vector<float>(static_cast<std::size_t>(sum.size())));
  Index first = 0;
  for (const Index count : images) {
    const Index own = count * wide.tokens(), before = first * wide.tokens() * wide.dim;
    const ConstMatrixView stream(x.data() + before, own, wide.dim);
    Arena memory(block.saved_bytes(own));
    const auto saved = block.take_saved(own, memory);
    block.forward_saved(stream, saved, MatrixView(y.data() + before, own, wide.dim), workspace);
    block.backward(stream, saved, grads, MatrixView(d.data() + before, own, wide.dim), workspace);
    first += count;
  }
  std::vector<float> all = d;
  for (const Parameter& sum : sums) {
    const std::vector<float> values = sum.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

}  // namespace

TEST_CASE("a dense block agrees with plain loops") { check_block<plain>(); }

TEST_CASE("a dense block with layer scale, wide heads and no biases agrees with plain loops") { check_block<scaled>(); }

TEST_CASE("training passes of a dense block take images in nearly equal parts, one after the other") {
  DenseBlock<wide> block;
  test::randomise(test::collect([&](auto visit) { each_wide_parameter(block, visit); }), 1);
  const std::vector<float> whole = gradients_of(block, {wide_images}, 1);
  for (const Index threads : {2, 3}) CHECK(test::same_bits(whole, gradients_of(block, {wide_images}, threads)));
  CHECK(test::same_bits(whole, gradients_of(block, {13, 13, 14}, 1)));
  CHECK_FALSE(test::same_bits(whole, gradients_of(block, {10, 15, 15}, 1)));  // sums in another order
}
