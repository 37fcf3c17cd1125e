#include "catch.hpp"
#include "small_models.hpp"

#include <moevit/models/calibrate.hpp>

using namespace small_models;

namespace {

template <class Net>
Net trained_like() {
  Net net;
  for_each_model([&]<class Other>(const std::string&, const Other& model) {
    if constexpr (std::is_same_v<Other, Net>) net = model;
  });
  return net;
}

}  // namespace

TEST_CASE("calibration lifts matrices to bfloat16 until the logits are close enough, and no more") {
  const auto net = trained_like<DenseVit>();
  const std::vector<float> images = random_images<DenseVit>(4, 1);
  const Calibration loose = calibrate<Int8>(net, images, {.largest_error = 10.});
  CHECK(loose.lifted == 0);
  CHECK(loose.error > 0.);
  const Calibration middle = calibrate<Int8>(net, images, {.largest_error = loose.error * 0.8});
  CHECK(middle.lifted > 0);
  CHECK(middle.error <= loose.error * 0.8);
  const Calibration strict = calibrate<Int8>(net, images, {.largest_error = 0.});
  CHECK(strict.lifted > middle.lifted);
  CHECK(strict.error < middle.error);
  for (const Storage storage : strict.storages) CHECK(storage == Storage::bfloat16);
}

TEST_CASE("a model is packed as its calibration says, experts of a layer together") {
  const auto net = trained_like<TopK>();
  const Calibration calibration = calibrate<Int8>(net, random_images<TopK>(3, 2), {.largest_error = 1e-9});
  const auto packed = pack<Int8>(net, calibration);
  const auto matrices = detail::packed_matrices(packed.net());
  REQUIRE(matrices.size() == calibration.storages.size());
  for (std::size_t i = 0; i < matrices.size(); ++i) CHECK(matrices[i].store->storage() == calibration.storages[i]);
  CHECK(packed.packed_bytes() > pack<Int8>(net).packed_bytes());
}

TEST_CASE("calibration without images, or for another model, is an error") {
  const DenseVit net;
  CHECK_THROWS_WITH((calibrate<Int8>(net, std::span<const float>())), Catch::Contains("at least one image"));
  CHECK_THROWS_WITH((calibrate<Int8>(net, std::vector<float>(7))), Catch::Contains("expected a multiple of"));
  CHECK_THROWS_WITH((pack<Int8>(net, Calibration{})), Catch::Contains("expected storages of"));
}
