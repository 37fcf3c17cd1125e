#include "random_values.hpp"
#include "simd/architectures.hpp"

#include <numeric>

using namespace moevit;
using simd::Batch;
using simd::lanes;

TEST_CASE("partial loads and stores touch only their floats") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (Index count = 0; count < lanes<Arch>; ++count) {
      const std::vector<float> source =
          test::normal_values(count, 1);  // exactly `count`: a sanitizer sees a float too many
      const Batch<Arch> value = simd::load_first<Arch>(source.data(), count, 7.f);
      std::vector<float> all(static_cast<std::size_t>(lanes<Arch>)), some(static_cast<std::size_t>(count));
      value.store_unaligned(all.data());
      simd::store_first<Arch>(value, some.data(), count);
      CHECK(some == source);
      CHECK(std::equal(source.begin(), source.end(), all.begin()));
      CHECK(std::all_of(all.begin() + count, all.end(), [](float x) { return x == 7.f; }));
    }
  });
}

TEST_CASE("keep_first masks by lane") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (Index count = 0; count <= lanes<Arch>; ++count) {
      std::vector<float> kept(static_cast<std::size_t>(lanes<Arch>)), expected(kept.size(), -1.f);
      simd::keep_first<Arch>(Batch<Arch>(3.f), count, -1.f).store_unaligned(kept.data());
      std::fill_n(expected.begin(), count, 3.f);
      CHECK(kept == expected);
    }
  });
}

TEST_CASE("reductions see every lane") {
  test::for_each_architecture([]<class Arch>(Arch) {
    std::vector<float> values(static_cast<std::size_t>(lanes<Arch>));
    simd::lane_numbers<Arch>().store_unaligned(values.data());
    std::vector<float> expected(values.size());
    std::iota(expected.begin(), expected.end(), 0.f);
    CHECK(values == expected);
    CHECK(simd::reduce_add<Arch>(simd::lane_numbers<Arch>()) ==
          static_cast<float>(lanes<Arch> * (lanes<Arch> - 1) / 2));
    for (std::size_t largest = 0; largest < values.size(); ++largest) {
      std::fill(values.begin(), values.end(), -5.f);
      values[largest] = -2.f;
      CHECK(simd::reduce_max<Arch>(Batch<Arch>::load_unaligned(values.data())) == -2.f);
    }
  });
}
