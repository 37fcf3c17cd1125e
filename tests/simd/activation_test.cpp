#include "reference.hpp"
#include "simd/architectures.hpp"

#include <moevit/simd/bf16_activation.hpp>

#include <bit>
#include <cstdint>

using namespace moevit;
using simd::Batch;
using simd::lanes;

namespace {

constexpr Activation activations[] = {Activation::gelu_tanh, Activation::gelu_erf, Activation::gelu_quick,
                                      Activation::relu};
constexpr float infinity = std::numeric_limits<float>::infinity();

/// activate() or activate_for_bf16(), and the error that each promises.
template <class Arch, bool for_bf16>
struct KindOf {
  static constexpr double bound = for_bf16 ? 3e-4 : 3e-7;
  template <Activation activation>
  static Batch<Arch> value(const Batch<Arch>& x) {
    if constexpr (for_bf16)
      return simd::activate_for_bf16<activation, Arch>(x);
    else
      return simd::activate<activation, Arch>(x);
  }
};

/// The activation of one float, in every lane at once.
template <class Arch, class Kind>
float activate_one(Activation activation, float x) {
  std::vector<float> result(static_cast<std::size_t>(lanes<Arch>));
  simd::with_activation(activation, [&](auto which) {
    Kind::template value<decltype(which)::value>(Batch<Arch>(x)).store_unaligned(result.data());
  });
  CHECK((std::isnan(result[0]) || std::all_of(result.begin(), result.end(), [&](float y) { return y == result[0]; })));
  return result[0];
}

/// Dense where activations bend, and every order of magnitude of both signs up to the largest float.
std::vector<float> probes() {
  std::vector<float> values;
  for (int i = -20'000; i <= 20'000; ++i) values.push_back(static_cast<float>(i) * 0.001f);
  for (std::uint32_t bits = 0; bits <= 0x7f7fffffu; bits += 65'521)
    for (const std::uint32_t sign : {0u, 0x80000000u}) values.push_back(std::bit_cast<float>(bits | sign));
  values.push_back(std::numeric_limits<float>::max());
  values.push_back(std::numeric_limits<float>::lowest());
  values.resize(static_cast<std::size_t>(round_up(static_cast<Index>(values.size()), 64)));
  return values;
}

/// Largest error relative to max(1, |x|); infinite when a result is not finite.
template <class Arch, class Kind>
double largest_error(Activation activation, std::vector<float> x) {
  std::vector<float> y = x;
  simd::with_activation(activation, [&](auto which) {
    for (auto at = y.begin(); at != y.end(); at += lanes<Arch>)
      Kind::template value<decltype(which)::value>(Batch<Arch>::load_unaligned(&*at)).store_unaligned(&*at);
  });
  double largest = 0.;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = reference::activate(activation, static_cast<double>(x[i]));
    const double error =
        std::abs(static_cast<double>(y[i]) - exact) / std::max(1., std::abs(static_cast<double>(x[i])));
    if (!(error <= largest)) largest = std::isfinite(y[i]) ? error : static_cast<double>(infinity);
  }
  return largest;
}

/// Calls test(arch, kind) for all instruction sets and both kinds.
template <class Test>
void for_each_kind(Test test) {
  test::for_each_architecture([&]<class Arch>(Arch arch) {
    test(arch, KindOf<Arch, false>());
    test(arch, KindOf<Arch, true>());
  });
}

}  // namespace

TEST_CASE("activations are within 3e-7 of float64 for every finite x, within 3e-4 before rounding to bfloat16") {
  const std::vector<float> x = probes();
  for_each_kind([&]<class Arch, class Kind>(Arch, Kind) {
    for (const Activation activation : activations) {
      CAPTURE(static_cast<int>(activation), Kind::bound);
      CHECK(largest_error<Arch, Kind>(activation, x) < Kind::bound);
    }
  });
}

TEST_CASE("activations pass on NaN and +inf") {
  for_each_kind([]<class Arch, class Kind>(Arch, Kind) {
    const auto at = [](Activation activation, float x) { return activate_one<Arch, Kind>(activation, x); };
    for (const Activation activation : activations) {
      CAPTURE(static_cast<int>(activation), Kind::bound);
      CHECK(std::isnan(at(activation, std::numeric_limits<float>::quiet_NaN())));
      CHECK(at(activation, infinity) == infinity);
      CHECK(at(activation, 0.f) == 0.f);
      const float at_minus_infinity = at(activation, -infinity);
      if (activation == Activation::relu)
        CHECK(at_minus_infinity == 0.f);
      else
        CHECK(!std::isfinite(at_minus_infinity));
    }
  });
}
