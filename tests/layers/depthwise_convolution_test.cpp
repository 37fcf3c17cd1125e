#include "layers/map_test.hpp"

#include <moevit/layers/depthwise_convolution.hpp>

using namespace moevit;
using test::MapCase;

namespace {

template <Index width, ConvolutionWindow window>
void check(const MapCase& maps) {
  CAPTURE(width, window.kernel, window.stride, window.padding, maps.images, maps.size.height);
  using Layer = DepthwiseConvolution<width, window>;
  Layer layer;
  const auto parameters_of = [](Layer& from) {
    return test::collect([&](auto visit) { Layer::each_parameter(from, "c", Role::attention, visit); });
  };
  const auto parameters = parameters_of(layer);
  REQUIRE(parameters.size() == 1);
  CHECK(parameters[0].shape == Shape{window.kernel, window.kernel, width});
  parameters[0].assign(test::normal_values(parameters[0].size(), 5));
  const std::vector<float> kernel = parameters[0].values();
  const Index places = maps.images * maps.size.places(), rows = maps.images * window.result_size(maps.size).places();
  const std::vector<float> x = test::normal_values(places * width, 7), dy = test::normal_values(rows * width, 8);
  std::vector<float> kernel_gradient, y(dy.size());
  const std::vector<float> dx = test::run_with_threads({}, [&](Workspace& workspace) {
    Layer grads;
    parameters_of(grads)[0].assign(std::vector<float>(kernel.size(), 0.5f));
    std::vector<float> result(x.size());
    layer.forward({x.data(), places, width}, maps.size, maps.images, {y.data(), rows, width}, workspace);
    layer.backward({x.data(), places, width}, {dy.data(), rows, width}, maps.size, maps.images, grads,
                   {result.data(), places, width}, workspace);
    kernel_gradient = parameters_of(grads)[0].values();
    std::vector<float> all = result;
    all.insert(all.end(), y.begin(), y.end());
    all.insert(all.end(), kernel_gradient.begin(), kernel_gradient.end());
    return all;
  });
  const auto run = [&](std::span<const float> input, std::span<const float> weights) {
    return reference::convolution({maps.images, maps.size, width, input}, reference::to_double(weights), {}, window,
                                  width, true);
  };
  // As one row: single places of few channels may cancel.
  CHECK(reference::relative_error({y.data(), 1, rows * width}, {1, rows * width, run(x, kernel).values}) <
        reference::rounding_tolerance(window.taps()));
  for (float& g : kernel_gradient) g -= 0.5f;
  test::check_gradient({"input",
                        x,
                        {dx.begin(), dx.begin() + std::ssize(x)},
                        [&](auto v) { return test::weighted_sum(run(v, kernel).values, dy); },
                        [] { return true; },
                        1e-2,
                        1e-4},
                       3);
  test::check_gradient(
      {"kernel", kernel, kernel_gradient, [&](auto v) { return test::weighted_sum(run(x, v).values, dy); },
       [] { return true; }, 1e-2, 1e-4},
      4);
}

}  // namespace

TEST_CASE("DepthwiseConvolution agrees with plain loops, forward and backward") {
  constexpr ConvolutionWindow same{3, 1, 1}, halving{3, 2, 1}, wide{5, 1, 2}, gaps{2, 3, 1};
  for (const MapCase& maps : test::map_cases) {
    check<1, same>(maps);
    check<37, same>(maps);
    check<48, halving>(maps);
    check<8, wide>(maps);
    check<5, gaps>(maps);
  }
}
