// Gradients of residual experts: aligned ones are those of weighted outputs, and factors have those of their product.
#include "catch.hpp"
#include "golden/typed.hpp"
#include "random_values.hpp"

#include <cstring>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr Index dim = 20, tokens = 13;
using Core = Mlp<dim, 36>;
template <class Bank>
using Layer = TypedSparseMlp<SparseMlp<TopKRouter<dim, 4>, Bank>>;

/// A layer with the same weights whatever its type.
template <class Bank>
std::unique_ptr<AnyLayer> random_layer() {
  auto layer = std::make_unique<Layer<Bank>>();
  unsigned seed = 3;
  for (const Parameter& parameter : layer->parameters())
    parameter.assign(normal_values(parameter.size(), seed++, 0.f, 0.3f));
  return layer;
}

/// All gradients of a layer one after the other, that of x last.
std::vector<float> gradients_of(const AnyLayer& layer, const RoutingOptions& options) {
  const std::vector<float> x = normal_values(tokens * dim, 8), cotangent = normal_values(tokens * dim, 9);
  std::vector<float> d_x(x.size()), all;
  const auto found = layer.gradients({ConstMatrixView(x.data(), tokens, dim), 1, tokens, options},
                                     {cotangent.data(), tokens, dim}, {}, {d_x.data(), tokens, dim});
  for (const Parameter& parameter : found->parameters()) {
    const std::vector<float> values = parameter.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  all.insert(all.end(), d_x.begin(), d_x.end());
  return all;
}

std::vector<float> output_of(const AnyLayer& layer, const RoutingOptions& options) {
  const std::vector<float> x = normal_values(tokens * dim, 8);
  std::vector<float> y(x.size());
  layer.run({ConstMatrixView(x.data(), tokens, dim), 1, tokens, options}, {y.data(), tokens, dim});
  return y;
}

template <class Bank>
void check_alignment() {
  const auto layer = random_layer<Bank>();
  for (const Index selected : {1, 2, 4}) {
    CAPTURE(selected);
    RoutingOptions weighted, aligned, plain;
    weighted.selected = aligned.selected = plain.selected = selected;
    aligned.scale_by_gate = plain.scale_by_gate = false;
    aligned.aligned_gradients = true;
    CHECK(output_of(*layer, aligned) == output_of(*layer, plain));
    CHECK(output_of(*layer, aligned) != output_of(*layer, weighted));
    CHECK(gradients_of(*layer, aligned) == gradients_of(*layer, weighted));
    CHECK(gradients_of(*layer, aligned) != gradients_of(*layer, plain));
    aligned.renormalise = true;  // weights of 1 have nothing to be renormalised
    CHECK(gradients_of(*layer, aligned) == gradients_of(*layer, weighted));
  }
}

}  // namespace

TEST_CASE("aligned gradients are those of weighted outputs, at the value of unweighted ones") {
  SECTION("plain experts") { check_alignment<ExpertBank<Core>>(); }
  SECTION("residual experts") { check_alignment<ResidualExpertBank<Core>>(); }
  SECTION("residuals of low rank") { check_alignment<ResidualExpertBank<Core, 3>>(); }
}

TEST_CASE("aligned gradients of weighted outputs are refused") {
  RoutingOptions options;
  options.aligned_gradients = true;
  CHECK_THROWS_WITH(gradients_of(*random_layer<ResidualExpertBank<Core>>(), options),
                    "block 0: expected aligned gradients only where scale_by_gate is false");
}

TEST_CASE("the gradient of a core is the sum of its residuals'") {
  const auto layer = random_layer<ResidualExpertBank<Core>>();
  RoutingOptions options;
  options.selected = 2;
  const std::vector<float> x = normal_values(tokens * dim, 8), cotangent = normal_values(tokens * dim, 9);
  std::vector<float> d_x(x.size());
  const auto found = layer->gradients({ConstMatrixView(x.data(), tokens, dim), 1, tokens, options},
                                      {cotangent.data(), tokens, dim}, {}, {d_x.data(), tokens, dim});
  std::map<std::string, std::vector<float>> gradients;
  for (const Parameter& parameter : found->parameters()) gradients[parameter.name] = parameter.values();
  for (const char* name : {"hidden.kernel", "hidden.bias", "output.kernel", "output.bias"}) {
    INFO(name);
    const std::vector<float>& core = gradients.at(std::string("blocks.0.moe.experts.core.") + name);
    const std::vector<float>& residuals = gradients.at(std::string("blocks.0.moe.experts.residual.") + name);
    REQUIRE(residuals.size() == 4 * core.size());
    for (std::size_t i = 0; i < core.size(); ++i) {
      double sum = 0;
      for (std::size_t expert = 0; expert < 4; ++expert) sum += double{residuals[expert * core.size() + i]};
      REQUIRE(double{core[i]} == Approx(sum).margin(1e-5));
    }
  }
}
