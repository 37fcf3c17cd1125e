#include "random_values.hpp"
#include "simd/architectures.hpp"

#include <moevit/simd/channel_sums.hpp>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float canary = 1234.5f;

/// `rows` rows of `count` values, `stride` apart, with NaN between them: what lies there must not be read.
std::vector<float> rows_of(Index rows, Index count, Index stride, unsigned seed) {
  std::vector<float> values = test::normal_values(rows * stride + 1, seed);
  for (Index i = 0; i < std::ssize(values); ++i)
    if (i >= rows * stride || i % stride >= count)
      values[static_cast<std::size_t>(i)] = std::numeric_limits<float>::quiet_NaN();
  return values;
}

/// Runs compute(sums) on a vector with a canary behind it and compares with expected(column), which is added to 0.5.
template <class Compute, class Expected>
void check(Index count, Compute compute, Expected expected) {
  std::vector<float> sums(static_cast<std::size_t>(count + 1), 0.5f);
  sums.back() = canary;
  compute(sums.data());
  for (Index col = 0; col < count; ++col)
    CHECK(sums[static_cast<std::size_t>(col)] == Approx(0.5 + expected(col)).margin(1e-4));
  CHECK(sums.back() == canary);
}

}  // namespace

TEST_CASE("Sums over channels add to what is there and touch nothing beside") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    for (const Index rows : {0, 1, 9})
      for (const Index count : test::counts_around(lanes<Arch>)) {
        CAPTURE(rows, count);
        const Index stride = count + 3, wide = count + 5;
        const std::vector<float> x = rows_of(rows, count, stride, 1), d = rows_of(rows, count, wide, 2),
                                 mean = rows_of(1, count, count, 3);
        const auto sum = [&](auto term) {
          return [&, term](Index col) {
            double total = 0.;
            for (Index row = 0; row < rows; ++row)
              total += term(double{x[static_cast<std::size_t>(row * stride + col)]},
                            double{d[static_cast<std::size_t>(row * wide + col)]},
                            double{mean[static_cast<std::size_t>(col)]});
            return total;
          };
        };
        check(
            count, [&](float* s) { simd::add_channel_sums<Arch>(x.data(), stride, rows, count, s); },
            sum([](double a, double, double) { return a; }));
        check(
            count, [&](float* s) { simd::add_channel_squares<Arch>(x.data(), stride, rows, count, mean.data(), s); },
            sum([](double a, double, double m) { return (a - m) * (a - m); }));
        check(
            count,
            [&](float* s) { simd::add_channel_products<Arch>(x.data(), stride, d.data(), wide, rows, count, s); },
            sum([](double a, double b, double) { return a * b; }));
        check(
            count,
            [&](float* s) {
              simd::add_centred_products<Arch>(x.data(), stride, mean.data(), d.data(), wide, rows, count, s);
            },
            sum([](double a, double b, double m) { return (a - m) * b; }));
      }
  });
}

TEST_CASE("Taps of several places have the bits of each alone") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    for (const Index count : test::counts_around(lanes<Arch>))
      for (const Index places : {1, 3, 4, 5, 9}) {
        CAPTURE(count, places);
        constexpr Index rows = 2, columns = 3, step = 2;  // windows overlap
        const Index stride = count + 3, width = columns + step * (places - 1), y_stride = count + 1;
        const std::vector<float> x = rows_of(rows * width, count, stride, 1),
                                 w = rows_of(rows * columns, count, count, 2);
        simd::TapGrid taps{.x = x.data(),
                           .x_row = width * stride,
                           .x_column = stride,
                           .weights = w.data(),
                           .weight_row = columns * count,
                           .weight_column = count,
                           .rows = rows,
                           .columns = columns,
                           .places = places,
                           .x_place = step * stride};
        std::vector<float> together(static_cast<std::size_t>(places * y_stride), -1.f), alone = together;
        simd::sum_taps<Arch>(taps, w.data(), count, together.data(), y_stride);
        taps.places = 1;
        for (Index place = 0; place < places; ++place, taps.x += taps.x_place)
          simd::sum_taps<Arch>(taps, w.data(), count, alone.data() + place * y_stride);
        CHECK(together == alone);
      }
  });
}

TEST_CASE("Taps and norms of channels agree with plain loops") {
  test::for_each_architecture([](auto arch) {
    using Arch = decltype(arch);
    for (const Index count : test::counts_around(lanes<Arch>)) {
      CAPTURE(count);
      const std::vector<float> x = rows_of(6, count, count, 1), w = rows_of(6, count, count, 2);
      const auto at = [&](const std::vector<float>& from, Index row, Index col) {
        return double{from[static_cast<std::size_t>(row * count + col)]};
      };
      const auto vector = [&](const std::vector<float>& from, Index row) { return from.data() + row * count; };
      // Two rows of three taps, x backwards.
      const simd::TapGrid taps{vector(x, 5), -3 * count, -count, w.data(), 3 * count, count, 2, 3};
      const std::vector<float> start(static_cast<std::size_t>(count), 0.5f);
      const auto products = [&](Index col) {
        double sum = 0.;
        for (Index tap = 0; tap < 6; ++tap) sum += at(x, 5 - tap, col) * at(w, tap, col);
        return sum;
      };
      check(
          count, [&](float* y) { simd::sum_taps<Arch>(taps, start.data(), count, y); }, products);
      check(
          count, [&](float* y) { simd::sum_taps<Arch>(taps, nullptr, count, y); },
          [&](Index col) { return products(col) - 0.5; });
      check(
          count,
          [&](float* y) {
            simd::normalise_channels<Arch>(vector(x, 0), vector(x, 1), vector(x, 2), vector(x, 3), count, y);
          },
          [&](Index col) { return (at(x, 0, col) - at(x, 1, col)) * at(x, 2, col) + at(x, 3, col) - 0.5; });
      check(
          count, [&](float* y) { simd::scale_channels<Arch>(vector(x, 0), vector(x, 1), count, y); },
          [&](Index col) { return at(x, 0, col) * at(x, 1, col) - 0.5; });
      check(
          count,
          [&](float* y) {
            simd::normalise_channels_gradient<Arch>(vector(x, 0), vector(x, 1), vector(x, 2), vector(x, 3),
                                                    vector(x, 4), vector(x, 5), count, y);
          },
          [&](Index col) {
            return at(x, 2, col) * at(x, 3, col) + (at(x, 0, col) - at(x, 1, col)) * at(x, 4, col) + at(x, 5, col) -
                   0.5;
          });
    }
  });
}
