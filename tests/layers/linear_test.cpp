#include "layers/layer_test.hpp"

#include <moevit/layers/linear.hpp>

using namespace moevit;

namespace {

template <Index inputs, Index outputs, bool has_bias>
void check_linear(Index rows) {
  CAPTURE(inputs, outputs, has_bias, rows);
  Linear<inputs, outputs, has_bias> layer;
  const auto parameters = test::collect([&](auto visit) { layer.each_parameter(layer, "layer", Role::mlp, visit); });
  REQUIRE(parameters.size() == (has_bias ? 2u : 1u));
  CHECK(parameters[0].shape == Shape{inputs, outputs});
  test::randomise(parameters, 1);
  const std::vector<float> x = test::normal_values(rows * inputs, 9);
  std::vector<float> y(static_cast<std::size_t>(rows * outputs));
  Arena arena(layer.scratch_bytes(rows));
  layer.forward({x.data(), rows, inputs}, {y.data(), rows, outputs}, arena);
  CHECK(arena.peak() == arena.capacity());
  const reference::Matrix expected =
      reference::Weights(parameters).linear(reference::Matrix(ConstMatrixView(x.data(), rows, inputs)), "layer");
  CHECK(reference::relative_error({y.data(), rows, outputs}, expected) < reference::rounding_tolerance(inputs));
}

}  // namespace

TEST_CASE("Linear agrees with plain loops") {
  for (const Index rows : {0, 1, 15, 197}) {
    check_linear<1, 5, true>(rows);
    check_linear<48, 33, true>(rows);
    check_linear<192, 10, false>(rows);
  }
}

TEST_CASE("parts of a kernel are parameters of their own") {
  Linear<3, 70> layer;
  const auto whole = test::collect([&](auto visit) { layer.each_parameter(layer, "layer", Role::mlp, visit); });
  test::randomise(whole, 1);
  const Parameter part = Linear<3, 70>::columns(layer, "part", 30, 40, Role::mlp);
  const std::vector<float> all = whole[0].values(), some = part.values();
  for (Index row = 0; row < 3; ++row)
    for (Index col = 0; col < 40; ++col)
      CHECK(some[static_cast<std::size_t>(row * 40 + col)] == all[static_cast<std::size_t>(row * 70 + 30 + col)]);
  CHECK(Linear<3, 70>::bias_columns(layer, "bias", 30, 40, Role::mlp).values()[0] == whole[1].values()[30]);
}
