// Random streams, the order of epochs and the validation split.
#include <moevit/train/shuffle.hpp>

#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

using namespace moevit;

TEST_CASE("random streams depend on the seed and every key") {
  const auto first = [](auto... keys) { return RandomStream(keys...).bits(); };
  CHECK(first(1u, 2, 3) == first(1u, 2, 3));
  CHECK(first(1u, 2, 3) != first(2u, 2, 3));
  CHECK(first(1u, 2, 3) != first(1u, 3, 3));
  CHECK(first(1u, 2, 3) != first(1u, 2, 4));
  CHECK(first(1u, 2, 3) != first(1u, 3, 2));
  CHECK(first(1u) == RandomStream(1).bits());
  // By SplitMix64 in another language: the numbers must not change between versions, compilers or processors.
  RandomStream random(7, 1);
  CHECK(random.bits() == 0x7010c70c013e27ecu);
  CHECK(random.bits() == 0xac1c0c2c061c1ef3u);
  CHECK(epoch_order(8, 1, 0) == std::vector<Index>{2, 6, 4, 5, 0, 7, 1, 3});
}

TEST_CASE("random numbers below a limit are even, and uniform ones stay in their range") {
  RandomStream random(3);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(static_cast<std::size_t>(random.below(7)));
  for (const int count : counts) CHECK(std::abs(count - 10000) < 500);
  CHECK(random.below(1) == 0);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double value = random.uniform(2, 4);
    CHECK((value >= 2 && value < 4));
    sum += value;
  }
  CHECK(sum / 10000 == Approx(3).margin(0.03));
  CHECK_FALSE(random.coin(0));
  CHECK(random.coin(1));
}

TEST_CASE("every order of a shuffle comes as often as the others") {
  std::vector<int> counts(6);
  for (int seed = 0; seed < 6000; ++seed) {
    const std::vector<Index> order = epoch_order(3, static_cast<std::uint64_t>(seed), 0);
    ++counts.at(static_cast<std::size_t>(order[0] * 2 + (order[1] > order[2])));
  }
  for (const int count : counts) CHECK(std::abs(count - 1000) < 150);
}

TEST_CASE("an epoch's order is a permutation that seed and epoch decide") {
  const std::vector<Index> order = epoch_order(1000, 5, 2);
  CHECK(order == epoch_order(1000, 5, 2));
  CHECK(order != epoch_order(1000, 5, 3));
  CHECK(order != epoch_order(1000, 6, 2));
  std::vector<Index> sorted = order, expected(1000);
  std::sort(sorted.begin(), sorted.end());
  std::iota(expected.begin(), expected.end(), Index{0});
  CHECK(sorted == expected);
  CHECK(epoch_order(0, 1, 1).empty());
  CHECK(epoch_order(1, 1, 1) == std::vector<Index>{0});
}

TEST_CASE("the validation split takes the last images of every class") {
  //                                0  1  2  3  4  5  6  7  8  9
  const std::vector<Index> labels{4, 0, 4, 0, 4, 0, 4, 0, 7, 4};
  const DataSplit split = validation_split(labels, 0.4);  // 2 of 5, 2 of 4 (1.6 rounded), 0 of 1
  CHECK(split.validation == std::vector<Index>{5, 6, 7, 9});
  CHECK(split.training == std::vector<Index>{0, 1, 2, 3, 4, 8});
  CHECK(validation_split(labels, 0).validation.empty());
  // Never a whole class.
  CHECK(validation_split(labels, 0.99).training == std::vector<Index>{0, 1, 8});
  CHECK(validation_split(std::vector<Index>(100, -1)).validation.size() == 10);
  CHECK(validation_split(std::vector<Index>{}).training.empty());
  for (const double fraction : {-0.1, 1.0, std::nan("")}) CHECK_THROWS_AS(validation_split(labels, fraction), Error);
}
