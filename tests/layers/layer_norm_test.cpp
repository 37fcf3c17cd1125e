#include "layers/layer_test.hpp"

#include <moevit/layers/layer_norm.hpp>

using namespace moevit;

namespace {

template <Index width, bool has_bias>
void check_layer_norm(Index rows) {
  CAPTURE(width, has_bias, rows);
  LayerNorm<width, has_bias> norm;
  const auto parameters = test::collect([&](auto visit) { norm.each_parameter(norm, "norm", visit); });
  REQUIRE(parameters.size() == (has_bias ? 2u : 1u));
  CHECK(parameters[0].values() == std::vector<float>(static_cast<std::size_t>(width), 1.f));
  test::randomise(parameters, 1);
  const std::vector<float> x = test::normal_values(rows * width, 9, 0.5f);
  std::vector<float> y(x.size());
  norm.forward({x.data(), rows, width}, {y.data(), rows, width}, 1e-3f);
  const VitConfig vit{.epsilon = 1e-3f};
  const reference::Matrix expected =
      reference::Weights(parameters).layer_norm(reference::Matrix(ConstMatrixView(x.data(), rows, width)), "norm", vit);
  CHECK(reference::relative_error({y.data(), rows, width}, expected) < reference::rounding_tolerance(width));
}

}  // namespace

TEST_CASE("LayerNorm agrees with plain loops") {
  for (const Index rows : {0, 1, 50}) {
    check_layer_norm<17, true>(rows);
    check_layer_norm<192, true>(rows);
    check_layer_norm<64, false>(rows);
  }
}
