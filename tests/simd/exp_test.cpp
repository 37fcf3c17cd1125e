#include "simd/architectures.hpp"

#include <moevit/simd/exp.hpp>

#include <cmath>

using namespace moevit;

namespace {

template <class Arch, class Function>
float one(Function function, float x) {
  return function(simd::Batch<Arch>(x)).get(0);
}

}  // namespace

TEST_CASE("exp is within 2e-7 of float64, 0 far below and bounded far above") {
  test::for_each_architecture([]<class Arch>(Arch) {
    using B = simd::Batch<Arch>;
    const auto whole = [](const B& x) { return simd::exp<Arch>(x); };
    const auto negative = [](const B& x) { return simd::exp_of_negative<Arch>(x); };
    double largest_error = 0.;
    for (float x = -87.f; x <= 87.f; x += 0.0137f) {
      const double expected = std::exp(static_cast<double>(x));
      largest_error = std::max(largest_error, std::abs(static_cast<double>(one<Arch>(whole, x)) / expected - 1.));
      if (x <= 0.f) CHECK(one<Arch>(negative, x) == one<Arch>(whole, x));
    }
    CHECK(largest_error < 2e-7);
    CHECK(one<Arch>(whole, 0.f) == 1.f);
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (const float x : {-88.5f, -1e30f, -infinity}) {
      CHECK(one<Arch>(whole, x) == 0.f);
      CHECK(one<Arch>(negative, x) == 0.f);
    }
    CHECK(one<Arch>(whole, infinity) == one<Arch>(whole, 87.f));
    for (const float nan : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()}) {
      CHECK(std::isnan(one<Arch>(whole, nan)));
      CHECK(std::isnan(one<Arch>(negative, nan)));
    }
  });
}
