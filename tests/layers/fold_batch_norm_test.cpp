#include "layers/layer_test.hpp"

#include <moevit/layers/fold_batch_norm.hpp>

using namespace moevit;

TEST_CASE("A folded convolution does the work of the batch norm behind it") {
  constexpr ConvolutionWindow window{3, 2, 1};
  constexpr Index inputs = 5, outputs = 37, images = 2;
  constexpr MapSize size{7, 6}, result = window.result_size(size);
  constexpr float epsilon = 1e-5f;
  Convolution<inputs, outputs, window, false> convolution;
  BatchNorm<outputs> norm;
  test::randomise(test::collect([&](auto visit) { convolution.each_parameter(convolution, "c", Role::mlp, visit); }),
                  1);
  const auto parameters = test::collect([&](auto visit) { norm.each_parameter(norm, "n", visit); });
  test::randomise(parameters, 2);
  const std::vector<float> x = test::normal_values(images * size.places() * inputs, 4);
  constexpr Index rows = images * result.places();
  std::vector<float> plain(static_cast<std::size_t>(rows * outputs)), found(plain.size());
  const ConstMatrixView input(x.data(), images * size.places(), inputs);
  const MatrixView two(plain.data(), rows, outputs), one(found.data(), rows, outputs);
  Workspace workspace(one_after_the_other(convolution.scratch(images, size), norm.training_scratch(rows)));
  convolution.forward(input, size, images, two, workspace);
  Arena memory(norm.saved_bytes());
  norm.forward_saved(two, NormStatistics::running, epsilon, norm.take_saved(memory), two, workspace);
  folded(convolution, norm, epsilon).forward(input, size, images, one, workspace);
  CHECK(reference::relative_error(one, reference::Matrix(ConstMatrixView(two))) < 1e-5);
}
