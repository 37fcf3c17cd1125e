#include "layers/map_test.hpp"

#include <moevit/layers/batch_norm.hpp>

using namespace moevit;

namespace {

constexpr float epsilon = 1e-5f;

using Parameters = std::vector<Parameter>;

template <Index width>
Parameters parameters_of(BatchNorm<width>& norm) {
  return test::collect([&](auto visit) { norm.each_parameter(norm, "norm", visit); });
}

/// Mean and biased variance of each column.
std::pair<reference::Values, reference::Values> statistics_of(const reference::Matrix& x) {
  const auto width = static_cast<std::size_t>(x.cols);
  reference::Values mean(width), variance(width);
  const auto rows = static_cast<double>(x.rows);
  for (Index r = 0; r < x.rows; ++r)
    for (std::size_t c = 0; c < width; ++c) mean[c] += x.row(r)[c] / rows;
  for (Index r = 0; r < x.rows; ++r)
    for (std::size_t c = 0; c < width; ++c) variance[c] += (x.row(r)[c] - mean[c]) * (x.row(r)[c] - mean[c]) / rows;
  return {mean, variance};
}

reference::Matrix batch_norm(reference::Matrix x, const reference::Values& scale, const reference::Values& bias,
                             const std::pair<reference::Values, reference::Values>& statistics) {
  for (Index r = 0; r < x.rows; ++r)
    for (std::size_t c = 0; c < scale.size(); ++c)
      x.row(r)[c] = (x.row(r)[c] - statistics.first[c]) /
                        std::sqrt(statistics.second[c] + static_cast<double>(epsilon)) * scale[c] +
                    bias[c];
  return x;
}

template <Index width>
void check(Index rows, NormStatistics kind) {
  CAPTURE(width, rows, kind == NormStatistics::batch);
  BatchNorm<width> norm;
  const Parameters parameters = parameters_of(norm);
  REQUIRE(parameters.size() == 4);
  CHECK(parameters[3].values() == std::vector<float>(static_cast<std::size_t>(width), 1.f));
  test::randomise(parameters, 1);
  std::vector<float> running = test::normal_values(width, 30);
  for (float& value : running) value = 0.5f + value * value;
  parameters[3].assign(running);
  const std::vector<float> x = test::normal_values(rows * width, 9, 3.f), dy = test::normal_values(rows * width, 8);
  Arena memory(BatchNorm<width>::saved_bytes());
  typename BatchNorm<width>::Saved saved = BatchNorm<width>::take_saved(memory);
  std::vector<float> scale_gradient, bias_gradient, y(x.size());
  const std::vector<float> dx = test::run_with_threads(BatchNorm<width>::training_scratch(rows), [&](Workspace& w) {
    BatchNorm<width> grads;
    for (const Parameter& p : parameters_of(grads)) p.assign(std::vector<float>(static_cast<std::size_t>(width)));
    norm.forward_saved({x.data(), rows, width}, kind, epsilon, saved, {y.data(), rows, width}, w);
    std::vector<float> all(x.size());
    norm.backward({x.data(), rows, width}, {dy.data(), rows, width}, kind, saved, grads, {all.data(), rows, width}, w);
    scale_gradient = parameters_of(grads)[0].values(), bias_gradient = parameters_of(grads)[1].values();
    for (const auto* part : {&y, &scale_gradient, &bias_gradient}) all.insert(all.end(), part->begin(), part->end());
    return all;
  });
  const auto run = [&](std::span<const float> input, std::span<const float> scale, std::span<const float> bias) {
    const reference::Matrix matrix(rows, width, reference::to_double(input));
    const auto statistics = kind == NormStatistics::batch ? statistics_of(matrix)
                                                          : std::pair(reference::to_double(parameters[2].values()),
                                                                      reference::to_double(running));
    return batch_norm(matrix, reference::to_double(scale), reference::to_double(bias), statistics);
  };
  const std::vector<float> scale = parameters[0].values(), bias = parameters[1].values();
  CHECK(reference::relative_error({y.data(), rows, width}, run(x, scale, bias)) < 2e-5);
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

TEST_CASE("BatchNorm agrees with plain loops, with statistics of the batch and running ones") {
  for (const Index rows : {0, 2, 35, 700}) {
    check<17>(rows, NormStatistics::batch);
    check<64>(rows, NormStatistics::batch);
    check<17>(rows, NormStatistics::running);
  }
  check<3>(1, NormStatistics::running);
}

TEST_CASE("Running statistics follow batches with the unbiased variance") {
  BatchNorm<2> norm;
  const std::vector<float> x{1, 5, 3, 5, 8, 2};  // columns 1 3 8: mean 4, variance 26/3, unbiased 13; 5 5 2: 4, 2, 3
  Workspace workspace(BatchNorm<2>::training_scratch(3));
  Arena memory(BatchNorm<2>::saved_bytes());
  auto saved = BatchNorm<2>::take_saved(memory);
  std::vector<float> y(x.size());
  const Parameters parameters = parameters_of(norm);
  norm.forward_saved({x.data(), 3, 2}, NormStatistics::batch, epsilon, saved, {y.data(), 3, 2}, workspace);
  norm.follow(saved.mean, saved.variance, 3, batch_norm_momentum);
  CHECK(parameters[2].values()[0] == Approx(0.4));
  CHECK(parameters[2].values()[1] == Approx(0.4));
  CHECK(parameters[3].values()[0] == Approx(0.9 + 1.3));
  CHECK(parameters[3].values()[1] == Approx(0.9 + 0.3));
}

TEST_CASE("A folded kernel does the work of the norm behind it") {
  constexpr Index width = 5, inputs = 9;
  BatchNorm<width> norm;
  const Parameters parameters = parameters_of(norm);
  test::randomise(parameters, 4);
  parameters[3].assign(std::vector<float>{0.5f, 1.f, 2.f, 0.1f, 3.f});
  const std::vector<float> kernel = test::normal_values(inputs * width, 2), x = test::normal_values(inputs, 3);
  std::vector<float> folded(kernel.size()), bias(width);
  norm.fold(kernel.data(), inputs, epsilon, folded.data(), bias.data());
  for (Index c = 0; c < width; ++c) {
    const auto at = static_cast<std::size_t>(c);
    double plain = 0., found = bias[at];
    for (Index r = 0; r < inputs; ++r) {
      const auto i = static_cast<std::size_t>(r * width + c);
      plain += x[static_cast<std::size_t>(r)] * kernel[i];
      found += x[static_cast<std::size_t>(r)] * folded[i];
    }
    const double expected = (plain - parameters[2].values()[at]) / std::sqrt(parameters[3].values()[at] + epsilon) *
                                parameters[0].values()[at] +
                            parameters[1].values()[at];
    CHECK(found == Approx(expected).margin(1e-5));
  }
}
