#include "random_values.hpp"
#include "reference.hpp"
#include "simd/architectures.hpp"

#include <moevit/simd/layer_norm.hpp>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float canary = 1234.5f;

struct NormCase {
  Index count = 0;
  float mean = 0.f;
  bool has_bias = true;
};

/// The error that rounding may leave: the mean is a sum of count / lanes + log2(lanes) terms per lane, which shifts
/// every output by its error over the deviation (1 here); the rest is a few roundings of outputs around 1 times the
/// scale.
double allowed_error(const NormCase& norm, Index lane_count) {
  const double additions = static_cast<double>(norm.count / lane_count + 6);
  return (additions * (1. + std::abs(static_cast<double>(norm.mean))) + 10.) * 5. * reference::unit_roundoff;
}

template <class Arch>
void check_row(const NormCase& norm) {
  CAPTURE(norm.count, norm.mean, norm.has_bias);
  const std::vector<float> x = test::normal_values(norm.count, 1, norm.mean);
  const std::vector<float> scale = test::normal_values(norm.count, 2, 1.f, 0.5f);
  const std::vector<float> bias = test::normal_values(norm.has_bias ? norm.count : 0, 3);
  reference::Values expected = reference::to_double(x);
  reference::layer_norm_row(expected.data(), norm.count, reference::to_double(scale), reference::to_double(bias), 1e-6);

  std::vector<float> found(static_cast<std::size_t>(norm.count) + 16, canary), in_place = x;
  const float* shift = norm.has_bias ? bias.data() : nullptr;
  simd::layer_norm_row<Arch>(x.data(), norm.count, scale.data(), shift, 1e-6f, found.data());
  simd::layer_norm_row<Arch>(in_place.data(), norm.count, scale.data(), shift, 1e-6f, in_place.data());
  CHECK(std::equal(in_place.begin(), in_place.end(), found.begin()));
  CHECK(std::all_of(found.begin() + norm.count, found.end(), [](float value) { return value == canary; }));
  double largest = 0.;
  for (std::size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(found[i]) - expected[i]));
  CHECK(largest <= allowed_error(norm, lanes<Arch>));
}

}  // namespace

TEST_CASE("layer norm agrees with float64, also far from zero") {
  test::for_each_architecture([]<class Arch>(Arch) {
    simd::layer_norm_row<Arch>(nullptr, 0, nullptr, nullptr, 1e-6f, nullptr);
    for (const Index count : {2 * lanes<Arch>, 2 * lanes<Arch> + 1, 5 * lanes<Arch> + 3, Index{192}, Index{1000}})
      for (const float mean : {0.f, -3.f, 1000.f})
        for (const bool has_bias : {true, false}) check_row<Arch>({count, mean, has_bias});
    for (const Index count : test::counts_around(lanes<Arch>))
      if (count > 2) check_row<Arch>({count, 0.f, true});
  });
}

TEST_CASE("layer norm of equal values is the bias, whatever they are") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : {Index{1}, lanes<Arch>, 3 * lanes<Arch> + 1}) {
      const std::vector<float> x(static_cast<std::size_t>(count), 2.f), scale(x.size(), 3.f), bias(x.size(), -0.5f);
      std::vector<float> y(x.size());
      simd::layer_norm_row<Arch>(x.data(), count, scale.data(), bias.data(), 1e-6f, y.data());
      // The mean may be off by a rounding, which is divided by sqrt(epsilon) = 1e-3.
      for (const float value : y) CHECK(value == Approx(-0.5).margin(3. * 2. * 4. * reference::unit_roundoff / 1e-3));
    }
  });
}
