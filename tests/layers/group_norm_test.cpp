#include "layers/map_test.hpp"

#include <moevit/layers/group_norm.hpp>

using namespace moevit;

namespace {

constexpr float epsilon = 1e-5f;

reference::Matrix group_norm(reference::Matrix x, Index images, Index groups, const reference::Values& scale,
                             const reference::Values& bias) {
  const Index places = images > 0 ? x.rows / images : 0, channels = x.cols / groups;
  for (Index task = 0; task < images * groups; ++task) {
    const Index row = task / groups * places, first = task % groups * channels;
    reference::Values values;
    for (Index r = row; r < row + places; ++r)
      for (Index c = first; c < first + channels; ++c) values.push_back(x(r, c));
    const reference::Values ones(values.size(), 1.), zeros;
    reference::layer_norm_row(values.data(), std::ssize(values), ones, zeros, static_cast<double>(epsilon));
    std::size_t i = 0;
    for (Index r = row; r < row + places; ++r)
      for (Index c = first; c < first + channels; ++c)
        x(r, c) = values[i++] * scale[static_cast<std::size_t>(c)] + bias[static_cast<std::size_t>(c)];
  }
  return x;
}

template <Index width, Index groups>
void check(Index images, Index places) {
  CAPTURE(width, groups, images, places);
  using Layer = GroupNorm<width, groups>;
  Layer norm;
  const auto parameters_of = [](Layer& from) {
    return test::collect([&](auto visit) { Layer::each_parameter(from, "norm", visit); });
  };
  const std::vector<Parameter> parameters = parameters_of(norm);
  test::randomise(parameters, 1);
  const Index rows = images * places;
  const std::vector<float> x = test::normal_values(rows * width, 9, 2.f), dy = test::normal_values(rows * width, 8);
  std::vector<float> scale_gradient, bias_gradient, y(x.size());
  const std::vector<float> dx = test::run_with_threads(Layer::backward_scratch(images), [&](Workspace& workspace) {
    Layer grads;
    for (const Parameter& p : parameters_of(grads)) p.assign(std::vector<float>(static_cast<std::size_t>(width)));
    norm.forward({x.data(), rows, width}, images, {y.data(), rows, width}, epsilon, workspace);
    std::vector<float> all(x.size());
    norm.backward({x.data(), rows, width}, {dy.data(), rows, width}, images, grads, {all.data(), rows, width}, epsilon,
                  workspace);
    scale_gradient = parameters_of(grads)[0].values(), bias_gradient = parameters_of(grads)[1].values();
    for (const auto* part : {&y, &scale_gradient, &bias_gradient}) all.insert(all.end(), part->begin(), part->end());
    return all;
  });
  const auto run = [&](std::span<const float> input, std::span<const float> scale, std::span<const float> bias) {
    return group_norm({rows, width, reference::to_double(input)}, images, groups, reference::to_double(scale),
                      reference::to_double(bias));
  };
  const std::vector<float> scale = parameters[0].values(), bias = parameters[1].values();
  CHECK(reference::relative_error({y.data(), rows, width}, run(x, scale, bias)) < 1e-5);
  const auto gradient = [&](const char* name, const std::vector<float>& values, std::vector<float> found,
                            auto function) {
    test::check_gradient({name, values, std::move(found), function, [] { return true; }, 1e-3, 1e-3}, 3);
  };
  gradient("x", x, {dx.begin(), dx.begin() + std::ssize(x)},
           [&](auto v) { return test::weighted_sum(run(v, scale, bias).values, dy); });
  gradient("scale", scale, scale_gradient, [&](auto v) { return test::weighted_sum(run(x, v, bias).values, dy); });
  gradient("bias", bias, bias_gradient, [&](auto v) { return test::weighted_sum(run(x, scale, v).values, dy); });
}

}  // namespace

TEST_CASE("GroupNorm agrees with plain loops, forward and backward") {
  check<12, 3>(2, 35);
  check<64, 4>(3, 150);
  check<9, 9>(1, 20);
  check<7, 1>(2, 1);
  check<8, 2>(0, 4);
}
