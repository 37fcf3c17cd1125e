#include "gradient_check.hpp"
#include "layers/layer_test.hpp"
#include "layers/window_reference.hpp"

#include <moevit/layers/window_attention.hpp>
#include <moevit/train/parameter_runs.hpp>

#include <cstring>

using namespace moevit;

namespace {

constexpr WindowAttentionConfig even{.dim = 12, .heads = 2, .window = 4, .shift = 2};
constexpr WindowAttentionConfig odd{.dim = 21, .heads = 3, .window = 3, .shift = 1, .qkv_bias = false};
constexpr WindowAttentionConfig single{.dim = 8, .heads = 1, .window = 1, .shift = 0};

/// An attention layer with its norm and random weights.
template <WindowAttentionConfig config>
struct Layer {
  WindowAttention<config> attention;
  LayerNorm<config.dim> norm;

  static std::vector<Parameter> parameters_of(WindowAttention<config>& attention, LayerNorm<config.dim>& norm) {
    return test::collect([&](auto visit) {
      attention.each_parameter(attention, "attention", visit);
      norm.each_parameter(norm, "norm", visit);
    });
  }
  std::vector<Parameter> parameters() { return parameters_of(attention, norm); }
  Layer() { test::randomise(parameters(), 1); }

  std::vector<float> run(std::vector<float> stream, MapSize map, Index block, const float* scale,
                         Workspace& workspace) const {
    const Index rows = static_cast<Index>(stream.size()) / config.dim;
    attention.forward(norm, MatrixView(stream.data(), rows, config.dim), map, scale, workspace, block);
    return stream;
  }
};

template <WindowAttentionConfig config>
void check_attention(Index images, MapSize map, Index block) {
  CAPTURE(config.dim, config.window, images, map.height, map.width, block);
  Layer<config> layer;
  const std::vector<Parameter> parameters = layer.parameters();
  const reference::Weights weights(parameters);
  const Index rows = images * map.places();
  const std::vector<float> stream = test::normal_values(rows * config.dim, 9);
  const std::vector<float> found =
      test::run_with_threads(WindowAttention<config>::scratch(images, map),
                             [&](Workspace& workspace) { return layer.run(stream, map, block, nullptr, workspace); });
  const reference::WindowAttention plain(config, weights, map, block % 2 ? config.shift : 0);
  const reference::Matrix x(ConstMatrixView(stream.data(), rows, config.dim));
  reference::Matrix expected = x;
  for (Index image = 0; image < images; ++image) {
    const reference::Matrix branch = plain.run(x.rows_of(image * map.places(), map.places()));
    for (Index i = 0; i < branch.rows * branch.cols; ++i)
      expected.row(image * map.places())[i] += branch.values[static_cast<std::size_t>(i)];
  }
  CHECK(reference::relative_error({found.data(), rows, config.dim}, expected) <
        reference::rounding_tolerance(config.window * config.window + config.dim, 3));
}

/// Gradients of sum(y * weights) by parameters and stream.
template <WindowAttentionConfig config>
struct Gradients {
  std::vector<float> y, d_stream, parameters;

  Gradients(const Layer<config>& layer, const std::vector<float>& stream, const std::vector<float>& weights,
            MapSize map, Index block, Workspace& workspace)
      : y(stream.size()), d_stream(weights) {
    using Attention = WindowAttention<config>;
    const Index rows = static_cast<Index>(stream.size()) / config.dim, images = rows / map.places();
    Arena memory(Attention::saved_bytes(images, map));
    const auto saved = Attention::take_saved(images, map, memory);
    const ConstMatrixView x(stream.data(), rows, config.dim);
    const MatrixView d(d_stream.data(), rows, config.dim);
    layer.attention.forward_saved(layer.norm, x, map, nullptr, saved, {y.data(), rows, config.dim}, workspace, block);
    Layer<config> grads;
    set_to_zero(grads.parameters());
    layer.attention.backward(layer.norm, x, map, saved, d, grads.attention, grads.norm, d, workspace, block);
    for (const Parameter& parameter : grads.parameters()) {
      const std::vector<float> values = parameter.values();
      parameters.insert(parameters.end(), values.begin(), values.end());
    }
  }
};

template <WindowAttentionConfig config>
void check_gradients(Index images, MapSize map, Index block) {
  CAPTURE(config.dim, config.window, images, map.height, map.width, block);
  Layer<config> layer;
  const Index rows = images * map.places();
  const std::vector<float> stream = test::normal_values(rows * config.dim, 3),
                           weights = test::normal_values(rows * config.dim, 4);
  const ScratchBytes scratch = WindowAttention<config>::training_scratch(images, map);
  Workspace workspace(scratch);
  const Gradients<config> found(layer, stream, weights, map, block, workspace);
  CHECK(found.y == layer.run(stream, map, block, nullptr, workspace));
  test::run_with_threads(scratch, [&](Workspace& other) {
    const Gradients<config> same(layer, stream, weights, map, block, other);
    CHECK(same.d_stream == found.d_stream);
    return same.parameters;
  });
  const auto loss = [&](std::span<const float> values) {
    const std::vector<float> y = layer.run({values.begin(), values.end()}, map, block, nullptr, workspace);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += double{y[i]} * double{weights[i]};
    return sum;
  };
  unsigned seed = 30;
  test::check_gradient({.name = "stream", .values = stream, .gradient = found.d_stream, .function = loss}, seed++);
  std::size_t first = 0;
  for (const Parameter& parameter : layer.parameters()) {
    const std::vector<float> values = parameter.values();
    const auto begin = found.parameters.begin() + static_cast<std::ptrdiff_t>(first);
    first += values.size();
    test::check_gradient({.name = parameter.name,
                          .values = values,
                          .gradient = {begin, begin + std::ssize(values)},
                          .function =
                              [&](std::span<const float> moved) {
                                parameter.assign(moved);
                                return loss(stream);
                              }},
                         seed++);
    parameter.assign(values);
  }
}

}  // namespace

TEST_CASE("window attention agrees with plain loops: shifts, padding, one place, no image") {
  for (const Index block : {0, 1}) {
    check_attention<even>(2, {8, 8}, block);
    check_attention<even>(1, {4, 4}, block);
    check_attention<even>(2, {5, 7}, block);
    check_attention<even>(1, {1, 1}, block);
    check_attention<even>(3, {9, 2}, block);
    check_attention<odd>(2, {7, 4}, block);
    check_attention<odd>(1, {3, 12}, block);
    check_attention<odd>(0, {3, 12}, block);
    check_attention<single>(1, {3, 2}, block);
  }
}

TEST_CASE("window attention scales what it adds") {
  const Layer<even> layer;
  constexpr MapSize map{3, 5};
  AlignedBuffer<float> scale = padded_vector(even.dim);
  std::ranges::copy(test::normal_values(even.dim, 8), scale.data());
  const std::vector<float> stream = test::normal_values(map.places() * even.dim, 9);
  Workspace workspace(WindowAttention<even>::scratch(1, map));
  const std::vector<float> plain = layer.run(stream, map, 1, nullptr, workspace),
                           scaled = layer.run(stream, map, 1, scale.data(), workspace);
  for (std::size_t i = 0; i < stream.size(); ++i) {
    const double factor = scale.data()[i % even.dim];
    CHECK(scaled[i] == Approx(stream[i] + factor * (double{plain[i]} - double{stream[i]})).margin(1e-5));
  }
}

TEST_CASE("window attention gives a map the same bits wherever it stands in a batch") {
  constexpr Index images = 3;
  constexpr MapSize map{6, 5};
  const Layer<even> layer;
  const std::vector<float> stream = test::normal_values(images * map.places() * even.dim, 9);
  Workspace workspace(WindowAttention<even>::scratch(images, map));
  const std::vector<float> all = layer.run(stream, map, 1, nullptr, workspace);
  constexpr Index size = map.places() * even.dim;
  for (Index image = 0; image < images; ++image) {
    const std::vector<float> alone =
        layer.run({stream.begin() + image * size, stream.begin() + (image + 1) * size}, map, 1, nullptr, workspace);
    CHECK(std::memcmp(alone.data(), all.data() + image * size, alone.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("gradients of window attention are those of differences, with the same bits for any threads") {
  for (const Index block : {0, 1}) {
    check_gradients<even>(2, {8, 4}, block);
    check_gradients<even>(2, {5, 7}, block);
    check_gradients<odd>(1, {7, 4}, block);
    check_gradients<even>(1, {1, 1}, block);
  }
}
