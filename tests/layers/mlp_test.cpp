#include "layers/layer_test.hpp"
#include "same_bits.hpp"

#include <moevit/layers/dense_mlp.hpp>

using namespace moevit;

namespace {

template <Activation activation, bool has_bias>
void check_mlp() {
  CAPTURE(static_cast<int>(activation), has_bias);
  constexpr Index dim = 20, hidden = 45, rows = 37;
  Mlp<dim, hidden, activation, has_bias> mlp;
  const auto parameters = test::collect([&](auto visit) { mlp.each_parameter(mlp, "mlp", Role::mlp, visit); });
  test::randomise(parameters, 1);
  const std::vector<float> x = test::normal_values(rows * dim, 9);
  std::vector<float> y(x.size());
  Arena arena(mlp.scratch_bytes(rows));
  mlp.forward({x.data(), rows, dim}, {y.data(), rows, dim}, arena);
  CHECK(arena.peak() == arena.capacity());
  const reference::Matrix expected = reference::mlp(reference::Matrix(ConstMatrixView(x.data(), rows, dim)),
                                                    reference::Weights(parameters), "mlp", activation);
  CHECK(reference::relative_error({y.data(), rows, dim}, expected) < reference::rounding_tolerance(hidden, 2));
}

}  // namespace

TEST_CASE("Mlp agrees with plain loops for every activation, with and without biases") {
  check_mlp<Activation::gelu_tanh, true>();
  check_mlp<Activation::gelu_erf, true>();
  check_mlp<Activation::gelu_quick, false>();
  check_mlp<Activation::relu, false>();
}

TEST_CASE("add_mlp adds the scaled MLP of the normalised rows, with the same bits for any number of threads and rows") {
  static constexpr VitConfig vit{.dim = 24, .hidden = 50};
  constexpr Index rows = 131;
  using MlpType = ConfiguredMlp<vit>;
  MlpType mlp;
  LayerNorm<vit.dim> norm;
  const auto parameters = test::collect([&](auto visit) {
    mlp.each_parameter(mlp, "mlp", Role::mlp, visit);
    norm.each_parameter(norm, "norm", visit);
  });
  test::randomise(parameters, 1);
  AlignedBuffer<float> scale = padded_vector(vit.dim);
  std::ranges::copy(test::normal_values(vit.dim, 8), scale.data());
  const std::vector<float> stream = test::normal_values(rows * vit.dim, 9);
  const auto run = [&](Index count, Workspace& workspace) {
    std::vector<float> result(stream.begin(), stream.begin() + count * vit.dim);
    add_mlp(mlp, norm, vit.epsilon, scale.data(), MatrixView(result.data(), count, vit.dim), workspace);
    return result;
  };
  const std::vector<float> found = test::run_with_threads({0, dense_mlp_worker_bytes<MlpType>(rows)},
                                                          [&](Workspace& workspace) { return run(rows, workspace); });

  const reference::Weights weights(parameters);
  const reference::Matrix x(ConstMatrixView(stream.data(), rows, vit.dim));
  const reference::Matrix expected =
      reference::add(x, reference::mlp(weights.layer_norm(x, "norm", vit), weights, "mlp", vit.activation),
                     reference::to_double({scale.data(), static_cast<std::size_t>(vit.dim)}));
  CHECK(reference::relative_error({found.data(), rows, vit.dim}, expected) <
        reference::rounding_tolerance(vit.hidden, 3));
  Workspace serial({0, dense_mlp_worker_bytes<MlpType>(rows)});
  for (const Index count : {1, 14, 100}) {
    const std::vector<float> fewer = run(count, serial);
    CHECK(test::same_bits(fewer, std::span(found).first(fewer.size())));
  }
}
