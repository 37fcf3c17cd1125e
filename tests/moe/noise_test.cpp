// Noise is standard normal and reproducible; random gates ignore the place in the batch.
#include <moevit/moe/noise.hpp>
#include <moevit/moe/random_gates.hpp>

#include "catch.hpp"

#include <vector>

using namespace moevit;

TEST_CASE("Gaussian noise has the moments of a standard normal and comes back from its counter") {
  GaussianNoise noise(11);
  std::vector<float> values(200000), again(1000), other(1000);
  noise.fill(3, values);
  double mean = 0, square = 0, fourth = 0;
  for (float value : values) {
    const double v = static_cast<double>(value);
    mean += v, square += v * v, fourth += v * v * v * v;
  }
  const double count = static_cast<double>(values.size());
  CHECK(mean / count == Approx(0).margin(0.01));
  CHECK(square / count == Approx(1).margin(0.02));
  CHECK(fourth / count == Approx(3).margin(0.15));
  noise.set_counter(100);
  noise.fill(3, again);
  CHECK(std::equal(again.begin(), again.end(), values.begin() + 100));
  noise.set_counter(100);
  noise.fill(4, other);
  CHECK(again != other);
}

TEST_CASE("random logits depend on the token and the seed, not on the place") {
  const std::vector<float> x{1.f, 2.f, 3.f, 4.f, 1.f, 2.f};
  std::vector<float> logits(3 * 5), seeded(3 * 5);
  random_logits(ConstMatrixView(x.data(), 3, 2), 1, 7, {logits.data(), 3, 5});
  random_logits(ConstMatrixView(x.data(), 3, 2), 1, 8, {seeded.data(), 3, 5});
  CHECK(std::equal(logits.begin(), logits.begin() + 5, logits.begin() + 10));
  CHECK_FALSE(std::equal(logits.begin(), logits.begin() + 5, logits.begin() + 5));
  CHECK(logits != seeded);
}
