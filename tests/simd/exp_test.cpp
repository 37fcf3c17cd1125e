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

TEST_CASE("powers of two are within 3e-7 of float64, 0 far below and bounded far away") {
  test::for_each_architecture([]<class Arch>(Arch) {
    using B = simd::Batch<Arch>;
    const auto bounded = [](const B& x) { return simd::bounded_exp2<Arch>(x); };
    const auto negative = [](const B& x) { return simd::exp2_of_negative<Arch>(x); };
    double largest_error = 0.;
    const auto compare = [&](float found, float x) {
      const double expected = std::exp2(static_cast<double>(x));
      largest_error = std::max(largest_error, std::abs(static_cast<double>(found) / expected - 1.));
    };
    for (float x = -120.f; x <= 120.f; x += 0.0137f) {
      compare(one<Arch>(bounded, x), x);
      if (x <= 0.f) CHECK(one<Arch>(negative, x) == one<Arch>(bounded, x));
    }
    for (float x = -126.4f; x < -120.f; x += 0.0137f) compare(one<Arch>(negative, x), x);
    CHECK(largest_error < 3e-7);
    for (const auto& function :
         {+[](B x) { return simd::bounded_exp2<Arch>(x); }, +[](B x) { return simd::exp2_of_negative<Arch>(x); }}) {
      CHECK(one<Arch>(function, 0.f) == 1.f);
      CHECK(one<Arch>(function, -100.f) == 0x1p-100f);
      for (const float nan : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()})
        CHECK(std::isnan(one<Arch>(function, nan)));
    }
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (const float x : {-126.6f, -1e30f, -infinity}) {
      CHECK(one<Arch>(negative, x) == 0.f);
      CHECK(one<Arch>(bounded, x) == 0x1p-120f);
    }
    for (const float x : {120.5f, 1e30f, infinity}) CHECK(one<Arch>(bounded, x) == 0x1p120f);
  });
}
