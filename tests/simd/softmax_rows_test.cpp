#include "random_values.hpp"
#include "reference.hpp"
#include "simd/architectures.hpp"

#include <moevit/simd/softmax_rows.hpp>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// softmax_rows of `rows` x `count` values that lie `stride` apart; what lies between them stays as it is.
template <class Arch>
std::vector<float> softmax(const std::vector<float>& x, Index rows, Index count, Index stride) {
  std::vector<float> y = x;
  simd::softmax_rows<Arch>([&](Index row) { return x.data() + row * stride; }, rows, count,
                           [&](Index row) { return y.data() + row * stride; });
  return y;
}

}  // namespace

TEST_CASE("tiles of columns hold their rows, and give them back") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : {1, 3, 4, 5, 8, 63, 64})
      for (Index rows = 1; rows <= lanes<Arch>; ++rows) {
        CAPTURE(count, rows);
        const Index stride = count + 2;
        const std::vector<float> x = test::normal_values(rows * stride, 3);
        alignas(64) std::array<float, static_cast<std::size_t>(simd::tile_columns * lanes<Arch>)> tile;
        simd::load_columns<Arch>([&](Index row) { return x.data() + row * stride; }, rows, 1, count, tile.data());
        bool good = true;
        for (Index lane = 0; lane < lanes<Arch>; ++lane)
          for (Index col = 0; col < count; ++col)
            good &= tile[static_cast<std::size_t>(col * lanes<Arch> + lane)] ==
                    x[static_cast<std::size_t>(std::min(lane, rows - 1) * stride + col + 1)];
        CHECK(good);
        std::vector<float> y(x.size(), infinity), expected = y;
        simd::store_columns<Arch>(tile.data(), count, rows, [&](Index row) { return y.data() + row * stride + 1; });
        for (Index row = 0; row < rows; ++row)
          std::copy_n(x.begin() + row * stride + 1, count, expected.begin() + row * stride + 1);
        CHECK(y == expected);
      }
  });
}

TEST_CASE("softmax of rows is within 4e-7 of the largest output, and keeps to its rows") {
  test::for_each_architecture([]<class Arch>(Arch) {
    std::vector<Index> counts = test::counts_around(lanes<Arch>);
    for (const Index count : {2, 8, 10, 31, 32, 33, 64, 65}) counts.push_back(count);
    for (const Index count : counts)
      for (const Index rows : {Index{1}, lanes<Arch> - 1, lanes<Arch>, 2 * lanes<Arch> + 3})
        for (const float spread : {0.f, 1.f, 30.f, 1e30f}) {
          CAPTURE(count, rows, spread);
          const Index stride = count + 3;
          const std::vector<float> x = test::normal_values(rows * stride, 5, 3.f, spread);
          const std::vector<float> y = softmax<Arch>(x, rows, count, stride);
          double largest = 0.;
          bool kept = true;
          for (Index row = 0; row < rows; ++row) {
            const auto first = x.begin() + row * stride, found = y.begin() + row * stride;
            reference::Values expected(first, first + count);
            reference::softmax_row(expected.data(), count, 1.);
            const double top = *std::max_element(expected.begin(), expected.end());
            for (Index col = 0; col < count; ++col) {
              const double error =
                  std::abs(static_cast<double>(found[col]) - expected[static_cast<std::size_t>(col)]) / top;
              if (!(error <= largest)) largest = std::isfinite(error) ? error : static_cast<double>(infinity);
            }
            kept &= std::equal(first + count, first + stride, found + count);
          }
          CHECK(largest < 4e-7);
          CHECK(kept);
        }
    simd::softmax_rows<Arch>([](Index) -> float* { return nullptr; }, 0, 8, [](Index) -> float* { return nullptr; });
  });
}

TEST_CASE("a row has the same softmax, bit for bit, in any company") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : {5, 8, 32, 40}) {
      const Index rows = 3 * lanes<Arch> + 1;
      const std::vector<float> x = test::normal_values(rows * count, 6, 0.f, 4.f),
                               together = softmax<Arch>(x, rows, count, count);
      for (Index row = 0; row < rows; ++row) {
        const std::vector<float> alone(x.begin() + row * count, x.begin() + (row + 1) * count);
        const std::vector<float> found = softmax<Arch>(alone, 1, count, count);
        CHECK(std::equal(found.begin(), found.end(), together.begin() + row * count));
      }
    }
  });
}

TEST_CASE("softmax of rows gives 0 for -inf, and NaN only to the row with NaN or +inf") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : {8, 40})
      for (const float poison : {-infinity, infinity, std::numeric_limits<float>::quiet_NaN()}) {
        std::vector<float> x = test::normal_values(3 * count, 8);
        x[static_cast<std::size_t>(count + 2)] = poison;
        const std::vector<float> y = softmax<Arch>(x, 3, count, count);
        const auto middle = y.begin() + count;
        CHECK(std::all_of(y.begin(), middle, [](float value) { return std::isfinite(value); }));
        CHECK(std::all_of(middle + count, y.end(), [](float value) { return std::isfinite(value); }));
        if (poison < 0)
          CHECK((middle[2] == 0.f && std::isfinite(middle[0])));
        else
          CHECK(std::all_of(middle, middle + count, [](float value) { return std::isnan(value); }));
      }
  });
}
