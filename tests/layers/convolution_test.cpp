#include "layers/map_test.hpp"
#include "simd/reduced.hpp"

#include <moevit/layers/convolution.hpp>

using namespace moevit;
using test::MapCase;

namespace {

template <Index inputs, Index outputs, ConvolutionWindow window, bool has_bias>
struct Checker {
  using Layer = Convolution<inputs, outputs, window, has_bias>;

  static std::vector<Parameter> parameters_of(Layer& layer) {
    return test::collect([&](auto visit) { Layer::each_parameter(layer, "c", Role::mlp, visit); });
  }
  static reference::Values bias_of(const std::vector<Parameter>& parameters) {
    return has_bias ? reference::to_double(parameters[1].values()) : reference::Values{};
  }

  static void forward(const MapCase& maps) {
    CAPTURE(inputs, outputs, window.kernel, window.stride, window.padding, maps.images, maps.size.height);
    Layer layer;
    const auto parameters = parameters_of(layer);
    REQUIRE(parameters.size() == (has_bias ? 2u : 1u));
    CHECK(parameters[0].shape == Shape{window.kernel, window.kernel, inputs, outputs});
    test::randomise(parameters, 1);
    const std::vector<float> x = test::normal_values(maps.images * maps.size.places() * inputs, 7);
    const Index rows = maps.images * window.result_size(maps.size).places();
    const std::vector<float> y =
        test::run_with_threads(Layer::scratch(maps.images, maps.size), [&](Workspace& workspace) {
          std::vector<float> result(static_cast<std::size_t>(rows * outputs), 77.f);
          layer.forward({x.data(), maps.images * maps.size.places(), inputs}, maps.size, maps.images,
                        {result.data(), rows, outputs}, workspace);
          return result;
        });
    const reference::Maps expected =
        reference::convolution({maps.images, maps.size, inputs, x}, reference::to_double(parameters[0].values()),
                               bias_of(parameters), window, outputs, false);
    CHECK(reference::relative_error({y.data(), rows, outputs}, expected.matrix()) <
          reference::rounding_tolerance(window.taps() * inputs));
  }

  static void gradients(const MapCase& maps) {
    CAPTURE(inputs, outputs, window.kernel, window.stride, window.padding, maps.images, maps.size.height);
    Layer layer;
    const auto parameters = parameters_of(layer);
    test::randomise(parameters, 1);
    const Index places = maps.images * maps.size.places(), rows = maps.images * window.result_size(maps.size).places();
    const std::vector<float> x = test::normal_values(places * inputs, 7), dy = test::normal_values(rows * outputs, 8);
    std::vector<float> kernel_gradient, bias_gradient;
    const std::vector<float> dx =
        test::run_with_threads(Layer::training_scratch(maps.images, maps.size), [&](Workspace& workspace) {
          Layer grads;
          const auto list = parameters_of(grads);
          for (const Parameter& p : list) p.assign(std::vector<float>(static_cast<std::size_t>(p.size()), 0.5f));
          std::vector<float> result(x.size(), 77.f);
          layer.backward({x.data(), places, inputs}, {dy.data(), rows, outputs}, maps.size, maps.images, grads,
                         {result.data(), places, inputs}, workspace);
          std::vector<float> all = result;
          kernel_gradient = list[0].values();
          all.insert(all.end(), kernel_gradient.begin(), kernel_gradient.end());
          if (has_bias) bias_gradient = list[1].values();
          all.insert(all.end(), bias_gradient.begin(), bias_gradient.end());
          return all;
        });
    const auto loss = [&](std::span<const float> input, std::span<const float> kernel, std::span<const float> bias) {
      const auto y = reference::convolution({maps.images, maps.size, inputs, input}, reference::to_double(kernel),
                                            reference::to_double(bias), window, outputs, false);
      return test::weighted_sum(y.values, dy);
    };
    const std::vector<float> kernel = parameters[0].values(),
                             bias = has_bias ? parameters[1].values() : kernel_gradient;
    const std::vector<float> bias_values = has_bias ? bias : std::vector<float>{};
    const auto check = [&](const char* name, const std::vector<float>& values, std::vector<float> gradient,
                           auto function) {
      test::check_gradient({name, values, std::move(gradient), function, [] { return true; }, 1e-2, 1e-4}, 3);
    };
    const auto without_start = [](std::vector<float> gradient) {
      for (float& g : gradient) g -= 0.5f;
      return gradient;
    };
    check("input", x, {dx.begin(), dx.begin() + std::ssize(x)}, [&](auto v) { return loss(v, kernel, bias_values); });
    check("kernel", kernel, without_start(kernel_gradient), [&](auto v) { return loss(x, v, bias_values); });
    if (has_bias) check("bias", bias, without_start(bias_gradient), [&](auto v) { return loss(x, kernel, v); });
  }

  static void all() {
    for (const MapCase& maps : test::map_cases) {
      if (std::min(maps.size.height, maps.size.width) + 2 * window.padding < window.kernel) {
        CHECK_THROWS_WITH(Layer::scratch(maps.images, maps.size), Catch::Contains("expected a map with at least"));
        continue;
      }
      forward(maps);
      gradients(maps);
    }
  }
};

constexpr ConvolutionWindow pointwise{1, 1, 0}, same{3, 1, 1}, halving{3, 2, 1}, embedding{7, 4, 2}, patches{4, 4, 0},
    gaps{2, 3, 1};

}  // namespace

TEST_CASE("Convolution agrees with plain loops, forward and backward") {
  Checker<5, 7, pointwise, true>::all();
  Checker<6, 33, same, true>::all();
  Checker<17, 40, halving, false>::all();
  Checker<3, 16, embedding, true>::all();
  Checker<3, 9, patches, true>::all();
  Checker<4, 5, gaps, false>::all();
}

TEST_CASE("Convolution with many windows is summed in parts of one size") {
  Checker<30, 33, same, true>::gradients({2, {30, 33}});
  Checker<64, 8, halving, true>::gradients({1, {64, 70}});
}

TEST_CASE("Convolution of many channels by filtering cells agrees with plain loops") {
  const auto check = []<class Layer>(Layer) {
    for (const MapSize size : {MapSize{10, 10}, MapSize{9, 13}, MapSize{61, 3}, MapSize{1, 100}})
      for (const Index images : {0, 1, 3}) Layer::forward({images, size});
  };
  check(Checker<32, 32, same, true>());
  check(Checker<64, 96, same, false>());
  check(Checker<32, 64, ConvolutionWindow{3, 1, 2}, true>());
  Checker<32, 32, ConvolutionWindow{3, 1, 0}, true>::forward({2, {13, 14}});
  Checker<320, 32, same, true>::forward({1, {21, 25}});  // windows that are cut into chunks where a map is small
  Checker<32, 32, same, true>::gradients({1, {10, 11}});
}

TEST_CASE("Convolution of wide windows agrees with plain loops") {
  const auto check = []<class Layer>(Layer) {
    for (const MapCase& maps : test::map_cases)
      if (std::min(maps.size.height, maps.size.width) > 1) Layer::forward(maps);
  };
  check(Checker<288, 7, same, true>());                       // a tap is a chunk
  check(Checker<800, 33, halving, false>());                  // three chunks are a tap
  check(Checker<48, 9, ConvolutionWindow{8, 3, 4}, true>());  // a row of taps is a chunk
  Checker<300, 33, same, true>::forward({1, {45, 47}});       // more places than a block
}

namespace {

/// y of a convolution with these channels; `storage` of a kernel whose values are rounded to bfloat16.
template <Index inputs, Index outputs, MapSize size>
std::vector<float> stored_results(Storage storage) {
  using Layer = Convolution<inputs, outputs, same>;
  Layer layer;
  const auto parameters = test::collect([&](auto visit) { Layer::each_parameter(layer, "c", Role::head, visit); });
  test::randomise(parameters, 1);
  parameters[0].assign(test::rounded_to_bf16(parameters[0].values()));
  parameters[0].stores.at(0)->convert(storage);
  const std::vector<float> x = test::normal_values(size.places() * inputs, 7);
  std::vector<float> y(static_cast<std::size_t>(size.places() * outputs));
  Workspace workspace(Layer::scratch(1, size));
  layer.forward({x.data(), size.places(), inputs}, size, 1, {y.data(), size.places(), outputs}, workspace);
  return y;
}

template <Index inputs, Index outputs = 9, MapSize size = MapSize{5, 7}>
void check_reduced() {
  CAPTURE(inputs, outputs);
  const std::vector<float> floats = stored_results<inputs, outputs, size>(Storage::float32);
  CHECK(stored_results<inputs, outputs, size>(Storage::bfloat16_weights) == floats);
  for (const Storage storage : {Storage::bfloat16, Storage::int8}) {
    const std::vector<float> found = stored_results<inputs, outputs, size>(storage);
    CHECK(reference::relative_error({found.data(), 1, std::ssize(found)},
                                    reference::Matrix({floats.data(), 1, std::ssize(floats)})) <
          (storage == Storage::int8 ? 0.02 : 0.008));
  }
}

}  // namespace

TEST_CASE("Convolution of wide windows and of many channels in reduced precision") {
  check_reduced<64, 96, MapSize{10, 11}>();
  check_reduced<288>();
  check_reduced<772>();  // three chunks of a tap, the last of another width
  check_reduced<771>();  // a tap begins in the middle of a unit
  check_reduced<770>();
}

TEMPLATE_TEST_CASE_SIG("Convolution gives a place the same bits in any batch and any stride, and takes an epilogue", "",
                       ((Index inputs, Index outputs), inputs, outputs), (8, 20), (300, 20), (64, 32)) {
  constexpr MapSize size{11, 13};
  constexpr Index images = 3, places = size.places();
  using Layer = Convolution<inputs, outputs, same>;
  Layer layer;
  test::randomise(test::collect([&](auto visit) { Layer::each_parameter(layer, "c", Role::mlp, visit); }), 1);
  const std::vector<float> x = test::normal_values(images * places * inputs, 7),
                           r = test::normal_values(images * places * outputs, 8);
  Workspace workspace(Layer::scratch(images, size));
  constexpr Activation relu = Activation::relu;
  std::vector<float> plain(r.size()), whole(r.size()), single(static_cast<std::size_t>(places * outputs));
  layer.forward({x.data(), images * places, inputs}, size, images, {plain.data(), images * places, outputs}, workspace);
  layer.forward({x.data(), images * places, inputs}, size, images, {whole.data(), images * places, outputs}, workspace,
                {.activation = &relu, .residual = r.data(), .residual_stride = outputs});
  for (std::size_t i = 0; i < r.size(); ++i) CHECK(whole[i] == Approx(r[i] + std::max(plain[i], 0.f)).margin(1e-6));
  const std::vector<float> scale = test::normal_values(round_up(outputs, 32), 9),
                           row_scale = test::normal_values(images * places, 10);
  std::vector<float> spread(static_cast<std::size_t>(images * places * (outputs + 5)), 77.f);
  const MatrixView target(spread.data(), images * places, outputs, outputs + 5);
  for (Index row = 0; row < target.rows(); ++row) std::copy_n(r.data() + row * outputs, outputs, target.row_data(row));
  layer.forward({x.data(), images * places, inputs}, size, images, target, workspace,
                {.row_scale = row_scale.data(),
                 .scale = scale.data(),
                 .residual = target.data(),
                 .residual_stride = target.stride()});
  for (Index row = 0; row < target.rows(); ++row) {
    for (Index col = 0; col < outputs; ++col) {
      const auto at = static_cast<std::size_t>(row * outputs + col);
      const float product = row_scale[static_cast<std::size_t>(row)] * plain[at];
      CHECK(target(row, col) == Approx(r[at] + scale[static_cast<std::size_t>(col)] * product).margin(1e-4));
    }
    CHECK(target.row_data(row)[outputs] == 77.f);
  }
  for (Index image = 0; image < images; ++image) {
    layer.forward({x.data() + image * places * inputs, places, inputs}, size, 1, {single.data(), places, outputs},
                  workspace);
    CHECK(std::equal(single.begin(), single.end(), plain.begin() + image * places * outputs));
  }
  std::vector<float> wide(static_cast<std::size_t>(images * places * (inputs + 3)), 77.f), strided(r.size());
  const MatrixView apart(wide.data(), images * places, inputs, inputs + 3);
  for (Index row = 0; row < apart.rows(); ++row) std::copy_n(x.data() + row * inputs, inputs, apart.row_data(row));
  layer.forward(apart, size, images, {strided.data(), images * places, outputs}, workspace);
  CHECK(strided == plain);
}
