#include "random_values.hpp"
#include "reference.hpp"
#include "simd/architectures.hpp"

#include <moevit/simd/rows.hpp>

#include <utility>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float canary = 1234.5f;

/// The nearest bfloat16 by comparing distances to both neighbours; on a tie the one with an even last bit.
float nearest_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t toward_zero = bits & 0xffff0000u, away = toward_zero + 0x10000u;
  const auto wide = [](std::uint32_t pattern) {  // what lies behind the largest finite number is 2^128, not infinity
    if ((pattern & 0x7fffffffu) == 0x7f800000u) return std::ldexp(pattern >> 31 ? -1. : 1., 128);
    return static_cast<double>(std::bit_cast<float>(pattern));
  };
  const double below = std::abs(static_cast<double>(x) - wide(toward_zero)),
               above = std::abs(wide(away) - static_cast<double>(x));
  const bool go_away = above < below || (above == below && (toward_zero & 0x10000u));
  return std::bit_cast<float>(go_away ? away : toward_zero);
}

}  // namespace

TEST_CASE("round_to_bf16 goes to the nearest, halves to even, for every upper half and around every tie") {
  Index wrong = 0;
  for (std::uint32_t upper = 0; upper <= 0xffffu; ++upper)
    for (const std::uint32_t lower : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const float x = std::bit_cast<float>((upper << 16) | lower);
      const float found = simd::round_to_bf16(x);
      if (std::isnan(x))
        wrong += !std::isnan(found);
      else if (std::isinf(x))
        wrong += found != x;
      else
        wrong += std::bit_cast<std::uint32_t>(found) != std::bit_cast<std::uint32_t>(nearest_bf16(x));
    }
  CHECK(wrong == 0);
  CHECK(simd::round_to_bf16(1.00390625f) == 1.f);        // a tie to the even 1.0
  CHECK(simd::round_to_bf16(1.01171875f) == 1.015625f);  // a tie to the even 1.015625
  CHECK(std::isinf(simd::round_to_bf16(std::numeric_limits<float>::max())));
}

TEST_CASE("round_row_to_bf16 rounds each float and no more") {
  std::vector<float> row = test::normal_values(37, 1), expected = row;
  for (std::size_t i = 0; i < 36; ++i) expected[i] = simd::round_to_bf16(expected[i]);
  simd::round_row_to_bf16(row.data(), 36);
  CHECK(row == expected);
}

TEST_CASE("add_scaled_row adds weight times x and keeps to its row") {
  test::for_each_architecture([]<class Arch>(Arch) {
    std::vector<Index> counts = test::counts_around(lanes<Arch>);
    counts.push_back(0);
    for (const Index count : counts) {
      const std::vector<float> x = test::normal_values(count, 1), before = test::normal_values(count, 2);
      std::vector<float> y = before;
      y.resize(y.size() + 16, canary);
      simd::add_scaled_row<Arch>(0.3f, x.data(), count, y.data());
      double largest = 0.;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double product = static_cast<double>(0.3f) * static_cast<double>(x[i]),
                     sum = product + static_cast<double>(before[i]);
        largest =
            std::max(largest, std::abs(static_cast<double>(y[i]) - sum) / (std::abs(product) + std::abs(sum) + 1e-30));
      }
      CHECK(largest <= reference::unit_roundoff);  // one rounding, or two where there is no fused multiply-add
      CHECK(std::all_of(y.begin() + count, y.end(), [](float value) { return value == canary; }));
    }
  });
}

TEST_CASE("add_weighted_rows sums rows in rising order and keeps to its row") {
  test::for_each_architecture([]<class Arch>(Arch) {
    std::vector<Index> counts = test::counts_around(lanes<Arch>);
    for (const Index count : {Index{0}, 4 * lanes<Arch>, 9 * lanes<Arch> + 1}) counts.push_back(count);
    for (const Index count : counts)
      for (const Index rows : {1, 2, 3, 7})
        for (const bool scaled : {false, true}) {
          CAPTURE(count, rows, scaled);
          const std::vector<float> x = test::normal_values(rows * count, 1), before = test::normal_values(count, 2),
                                   scale = test::normal_values(count, 3), weights = test::normal_values(rows, 4);
          std::vector<float> y = before;
          y.resize(y.size() + 16, canary);
          simd::add_weighted_rows<Arch>(
              rows, [&](Index row) { return x.data() + row * count; },
              [&](Index row) { return weights[static_cast<std::size_t>(row)]; }, scaled ? scale.data() : nullptr, count,
              y.data());
          double largest = 0.;
          for (Index i = 0; i < count; ++i) {
            const auto col = static_cast<std::size_t>(i);
            double sum = 0., size = 0.;
            for (Index row = 0; row < rows; ++row) {
              const double term = static_cast<double>(weights[static_cast<std::size_t>(row)]) *
                                  static_cast<double>(x[static_cast<std::size_t>(row * count + i)]);
              sum += term, size += std::abs(term);
            }
            const double factor = scaled ? static_cast<double>(scale[col]) : 1.;
            const double expected = static_cast<double>(before[col]) + factor * sum;
            largest = std::max(largest, std::abs(static_cast<double>(y[col]) - expected) /
                                            (std::abs(factor) * size + std::abs(static_cast<double>(before[col]))));
          }
          CHECK(largest <= static_cast<double>(2 * rows + 2) * reference::unit_roundoff);
          CHECK(std::all_of(y.begin() + count, y.end(), [](float value) { return value == canary; }));
        }
  });
}

TEST_CASE("all_finite finds one infinity or NaN anywhere, and looks at nothing beyond") {
  test::for_each_architecture([]<class Arch>(Arch) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    for (const Index count : test::counts_around(lanes<Arch>)) {
      std::vector<float> x = test::normal_values(count, 5, 0.f, 1e38f);
      for (float& value : x) value = std::clamp(value, -3e38f, 3e38f);
      x.push_back(infinity);
      CHECK(simd::all_finite<Arch>(x.data(), count));
      for (Index place = 0; place < count; ++place)
        for (const float poison : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
          const float old = std::exchange(x[static_cast<std::size_t>(place)], poison);
          CHECK_FALSE(simd::all_finite<Arch>(x.data(), count));
          x[static_cast<std::size_t>(place)] = old;
        }
    }
    CHECK(simd::all_finite<Arch>(nullptr, 0));
  });
}
