#include "layers/layer_test.hpp"
#include "same_bits.hpp"

#include <moevit/layers/attention.hpp>

using namespace moevit;

namespace {

constexpr VitConfig plain{.dim = 24, .heads = 3};
constexpr VitConfig wide_heads{.dim = 20, .heads = 2, .head_width = 17, .qkv_bias = false, .projection_bias = false};
constexpr VitConfig scaled_norm{.dim = 24, .heads = 3, .qk_norm = QkNorm::scale};
constexpr VitConfig whole_norm{.dim = 32, .heads = 2, .qk_norm = QkNorm::scale_and_bias};

/// An attention layer with its norm and random weights.
template <VitConfig config>
struct Layer {
  Attention<config> attention;
  LayerNorm<config.dim> norm;
  std::vector<Parameter> parameters = test::collect([this](auto visit) {
    attention.each_parameter(attention, "attention", visit);
    norm.each_parameter(norm, "norm", visit);
  });
  Layer() { test::randomise(parameters, 1); }

  std::vector<float> run(std::vector<float> stream, Index tokens, const float* scale, Workspace& workspace) const {
    const Index rows = static_cast<Index>(stream.size()) / config.dim;
    attention.forward(norm, MatrixView(stream.data(), rows, config.dim), tokens, scale, workspace);
    return stream;
  }
  reference::Matrix expected(const reference::Matrix& x, Index tokens, const reference::Values& scale) const {
    const reference::Weights weights(parameters);
    reference::Matrix y(x.rows, x.cols);
    for (Index first = 0; first < x.rows; first += tokens) {
      const reference::Matrix image = x.rows_of(first, tokens), normed = weights.layer_norm(image, "norm", config);
      const reference::Matrix part =
          reference::add(image, reference::attention(normed, normed, weights, "attention", config), scale);
      std::copy_n(part.row(0), tokens * x.cols, y.row(first));
    }
    return y;
  }
};

template <VitConfig config>
void check_attention(Index images, Index tokens) {
  CAPTURE(config.dim, config.heads, config.width_per_head(), images, tokens);
  const Layer<config> layer;
  AlignedBuffer<float> scale = padded_vector(config.dim);
  std::ranges::copy(test::normal_values(config.dim, 8), scale.data());
  const std::vector<float> stream = test::normal_values(images * tokens * config.dim, 9);
  const auto scratch = Attention<config>::scratch(images, tokens);
  for (const float* factor : {static_cast<const float*>(nullptr), static_cast<const float*>(scale.data())}) {
    const std::vector<float> found = test::run_with_threads(
        scratch, [&](Workspace& workspace) { return layer.run(stream, tokens, factor, workspace); });
    const reference::Values factors =
        factor ? reference::to_double({factor, static_cast<std::size_t>(config.dim)}) : reference::Values{};
    const reference::Matrix expected =
        layer.expected(reference::Matrix(ConstMatrixView(stream.data(), images * tokens, config.dim)), tokens, factors);
    CHECK(reference::relative_error({found.data(), images * tokens, config.dim}, expected) <
          reference::rounding_tolerance(tokens + config.dim, 3));
  }
}

}  // namespace

TEST_CASE("Attention agrees with plain loops: head widths, missing biases, norms of queries and keys") {
  check_attention<plain>(1, 1);
  check_attention<plain>(3, 50);
  check_attention<plain>(1, 197);
  check_attention<wide_heads>(2, 33);
  check_attention<scaled_norm>(2, 17);
  check_attention<whole_norm>(2, 17);
}

TEST_CASE("Attention gives an image the same bits wherever it stands in a batch") {
  constexpr Index tokens = 37, images = 4;
  const Layer<whole_norm> layer;
  const std::vector<float> stream = test::normal_values(images * tokens * whole_norm.dim, 9);
  Workspace workspace(Attention<whole_norm>::scratch(images, tokens));
  const std::vector<float> all = layer.run(stream, tokens, nullptr, workspace);
  constexpr Index size = tokens * whole_norm.dim;
  for (Index image = 0; image < images; ++image) {
    const std::vector<float> alone =
        layer.run({stream.begin() + image * size, stream.begin() + (image + 1) * size}, tokens, nullptr, workspace);
    CHECK(test::same_bits(alone, std::span(all).subspan(static_cast<std::size_t>(image * size), alone.size())));
  }
}
