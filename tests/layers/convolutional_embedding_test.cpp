#include "layers/map_test.hpp"

#include <moevit/layers/convolutional_embedding.hpp>

using namespace moevit;
using test::MapCase;

namespace {

template <ConvolutionalEmbeddingConfig config>
void check(const MapCase& maps) {
  CAPTURE(config.dim, config.window.kernel, maps.images, maps.size.height);
  using Layer = ConvolutionalEmbedding<config>;
  constexpr Index inputs = config.input_dim, dim = config.dim;
  Layer layer;
  const auto parameters_of = [](Layer& from) {
    return test::collect([&](auto visit) { Layer::each_parameter(from, "e", visit); });
  };
  const std::vector<Parameter> parameters = parameters_of(layer);
  REQUIRE(parameters.size() == 4);
  test::randomise(parameters, 1);
  const Index places = maps.images * maps.size.places(), rows = maps.images * Layer::result_size(maps.size).places();
  const std::vector<float> x = test::normal_values(places * inputs, 7), dy = test::normal_values(rows * dim, 8);
  const auto expected = [&](std::span<const float> input) {
    const reference::Weights weights(parameters);
    const auto projected =
        reference::convolution({maps.images, maps.size, inputs, input}, weights["e.projection.kernel"],
                               weights["e.projection.bias"], config.window, dim, false);
    return reference::layer_norm(projected.matrix(), weights["e.norm.scale"], weights["e.norm.bias"], 1e-5);
  };
  const std::vector<float> y =
      test::run_with_threads(Layer::scratch(maps.images, maps.size), [&](Workspace& workspace) {
        std::vector<float> result(dy.size());
        layer.forward({x.data(), places, inputs}, maps.size, maps.images, {result.data(), rows, dim}, workspace);
        return result;
      });
  CHECK(reference::relative_error({y.data(), rows, dim}, expected(x)) < 2e-5);
  const std::vector<float> all =
      test::run_with_threads(Layer::training_scratch(maps.images, maps.size), [&](Workspace& workspace) {
        Layer grads;
        for (const Parameter& p : parameters_of(grads))
          p.assign(std::vector<float>(static_cast<std::size_t>(p.size())));
        std::vector<float> result(x.size(), 77.f);
        layer.backward({x.data(), places, inputs}, maps.size, maps.images, {dy.data(), rows, dim}, grads,
                       {result.data(), places, inputs}, workspace);
        for (const Parameter& p : parameters_of(grads)) {
          const std::vector<float> values = p.values();
          result.insert(result.end(), values.begin(), values.end());
        }
        return result;
      });
  auto at = all.begin() + std::ssize(x);
  const auto compare = [&](const std::string& name, const std::vector<float>& values, std::vector<float> gradient,
                           auto function) {
    test::check_gradient({name, values, std::move(gradient), function, [] { return true; }, 1e-4, 2e-3}, 3);
  };
  compare("x", x, {all.begin(), at}, [&](auto v) { return test::weighted_sum(expected(v).values, dy); });
  for (const Parameter& p : parameters) {
    const std::vector<float> values = p.values(), gradient(at, at + p.size());
    at += p.size();
    compare(p.name, values, gradient, [&](std::span<const float> v) {
      p.assign(v);
      const double loss = test::weighted_sum(expected(x).values, dy);
      p.assign(values);
      return loss;
    });
  }
}

}  // namespace

TEST_CASE("ConvolutionalEmbedding agrees with plain loops, forward and backward") {
  for (const MapCase& maps : test::map_cases) {
    check<ConvolutionalEmbeddingConfig{.input_dim = 5, .dim = 12, .window = {3, 2, 1}}>(maps);
    if (std::min(maps.size.height, maps.size.width) + 4 >= 7) check<ConvolutionalEmbeddingConfig{.dim = 17}>(maps);
  }
}
