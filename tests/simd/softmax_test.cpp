#include "random_values.hpp"
#include "reference.hpp"
#include "simd/architectures.hpp"

#include <moevit/simd/softmax.hpp>

using namespace moevit;
using simd::lanes;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// softmax_row against float64, in units of the largest output; also checks that it may work in place.
template <class Arch>
double softmax_error(const std::vector<float>& x, float factor) {
  const auto count = static_cast<Index>(x.size());
  reference::Values expected = reference::to_double(x);
  reference::softmax_row(expected.data(), count, static_cast<double>(factor));
  std::vector<float> found(x.size()), in_place = x;
  simd::softmax_row<Arch>(x.data(), count, factor, found.data());
  simd::softmax_row<Arch>(in_place.data(), count, factor, in_place.data());
  CHECK(found == in_place);
  double largest = 0.;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = std::abs(static_cast<double>(found[i]) - expected[i]);
    if (!(error <= largest)) largest = std::isfinite(error) ? error : static_cast<double>(infinity);
  }
  return largest / *std::max_element(expected.begin(), expected.end());
}

}  // namespace

TEST_CASE("softmax is within 4e-7 of the largest output") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (Index count : test::counts_around(lanes<Arch>))
      for (const float spread : {0.f, 1.f, 30.f, 1e4f, 1e30f})
        for (const float factor : {1.f, 0.125f, 0.17677669f}) {
          CAPTURE(count, spread, factor);
          CHECK(softmax_error<Arch>(test::normal_values(count, 5, 3.f, spread), factor) < 4e-7);
        }
    CHECK(softmax_error<Arch>(test::normal_values(1001, 6, 0.f, 4.f), 0.125f) < 4e-7);
    CHECK(softmax_error<Arch>({std::numeric_limits<float>::max(), std::numeric_limits<float>::lowest(), 0.f}, 1.f) <
          4e-7);
    simd::softmax_row<Arch>(nullptr, 0, 1.f, nullptr);
  });
}

TEST_CASE("softmax keeps its row: nothing beyond is read or written") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index count : test::counts_around(lanes<Arch>)) {
      std::vector<float> row = test::normal_values(count, 7);
      const std::vector<float> alone = row;
      row.resize(row.size() + 16, infinity);
      std::vector<float> expected(alone.size());
      simd::softmax_row<Arch>(alone.data(), count, 1.f, expected.data());
      simd::softmax_row<Arch>(row.data(), count, 1.f, row.data());
      CHECK(std::equal(expected.begin(), expected.end(), row.begin()));
      CHECK(std::all_of(row.begin() + count, row.end(), [](float x) { return x == infinity; }));
    }
  });
}

TEST_CASE("softmax gives 0 for -inf and NaN for a row with NaN or +inf") {
  test::for_each_architecture([]<class Arch>(Arch) {
    std::vector<float> x = test::normal_values(2 * lanes<Arch> + 1, 8), y(x.size());
    x[1] = -infinity;
    simd::softmax_row<Arch>(x.data(), static_cast<Index>(x.size()), 1.f, y.data());
    CHECK(y[1] == 0.f);
    CHECK(std::isfinite(y[0]));
    for (const float poison : {infinity, std::numeric_limits<float>::quiet_NaN()})
      for (const std::size_t place : {std::size_t{0}, x.size() - 1}) {
        std::vector<float> row = x;
        row[place] = poison;
        simd::softmax_row<Arch>(row.data(), static_cast<Index>(row.size()), 1.f, y.data());
        CHECK(std::isnan(y[place]));
      }
  });
}
