// What packed models promise: the same bits for any threads, batch and place; no allocation; close to float32.
#include "allocation_counter.hpp"
#include "catch.hpp"
#include "same_bits.hpp"
#include "small_models.hpp"

#include <iostream>
#include <type_traits>

namespace {

using namespace small_models;
using test::same_bits;

constexpr Index batch = 5;

/// A policy of a user: experts in int8, all else float32.
struct Int8Experts {
  static constexpr Storage of(Role role) { return role == Role::expert ? Storage::int8 : Storage::float32; }
};

/// Calls visit(name, net, packed net) for every kind of model and every policy.
template <class Visit>
void for_each_packed(Visit visit) {
  for_each_model([&]<class Net>(const std::string& name, const Net& net) {
    visit(name + ", float32", net, pack<Float32>(net));
    visit(name + ", bf16", net, pack<Bf16>(net));
    visit(name + ", bf16 weights", net, pack<Bf16Weights>(net));
    visit(name + ", int8", net, pack<Int8>(net));
    visit(name + ", int8 experts", net, pack<Int8Experts>(net));
  });
}

template <class Model>
std::vector<float> logits_of(const Model& model, std::span<const float> images, Context& context) {
  const auto count = static_cast<Index>(images.size()) / Model::config.image_values();
  std::vector<float> logits(static_cast<std::size_t>(count * Model::outputs_per_image * Model::config.outputs()));
  model.forward(images, logits, context);
  return logits;
}

double relative_distance(std::span<const float> a, std::span<const float> b) {
  double difference = 0., size = 0.;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace

TEST_CASE("packed models give the same bits for any number of threads, any batch and place") {
  for_each_packed([]<class Net, class Model>(const std::string& name, const Net&, const Model& packed) {
    INFO(name);
    const std::vector<float> images = random_images<Net>(batch, 1);
    Context run = packed.context({.images = batch});
    const std::vector<float> together = logits_of(packed, images, run);
    for (const float value : together) REQUIRE(std::isfinite(value));
    Context two = packed.context({.images = batch, .threads = 3});
    CHECK(same_bits(together, logits_of(packed, images, two)));
    const std::size_t size = images.size() / batch, outputs = together.size() / batch;
    for (std::size_t image = 0; image < batch; ++image)
      CHECK(same_bits(logits_of(packed, std::span(images).subspan(image * size, size), run),
                      std::span(together).subspan(image * outputs, outputs)));
  });
}

TEST_CASE("packed models allocate nothing while they run and stay within their scratch") {
  if (!allocation_counter::available()) {
    std::cout << "skipped: allocations are counted with glibc and without sanitizers only\n";
    return;
  }
  for_each_packed([]<class Net, class Model>(const std::string& name, const Net&, const Model& packed) {
    INFO(name);
    const std::vector<float> images = random_images<Net>(batch, 2);
    Context run = packed.context({.images = batch, .threads = 2});
    std::vector<float> logits = logits_of(packed, images, run);
    allocation_counter::start();
    packed.forward(images, logits, run);
    CHECK(allocation_counter::stop() == 0);
    CHECK(Net::scratch_bytes(batch, 2) ==
          run.workspace().shared().capacity() + 2 * run.workspace().worker_arenas().front().capacity());
  });
}

TEST_CASE("packed models are close to float32 where no router can take another turn") {
  for_each_packed([]<class Net, class Model>(const std::string& name, const Net& net, const Model& packed) {
    INFO(name);
    const std::vector<float> images = random_images<Net>(batch, 3);
    Context run = net.context({.images = batch}), reduced = packed.context({.images = batch});
    const double distance = relative_distance(logits_of(packed, images, reduced), logits_of(net, images, run));
    const bool exact = std::is_same_v<typename Model::PolicyType, Float32>;
    const bool routed = Net::sparse_blocks > 0;
    if (exact) CHECK(distance == 0.);
    if (!exact && !routed) CHECK(distance < 0.1);
    if (!exact && Net::sparse_blocks == 0 && !std::is_same_v<typename Model::PolicyType, Int8Experts>)
      CHECK(distance > 0.);
  });
}

TEST_CASE("routers and norms stay float32, and packing takes the bytes that it says") {
  const TopK net;
  const auto packed = pack<Int8>(net);
  Index routers = 0;
  for (const ConstParameter& parameter : packed.net().parameters()) {
    const bool stays = parameter.role == Role::router || parameter.role == Role::norm || parameter.stores.empty();
    for (const float* matrix : parameter.matrices) CHECK((matrix != nullptr) == stays);
    routers += parameter.role == Role::router;
  }
  CHECK(routers > 0);
  CHECK(packed.packed_bytes() < pack<Float32>(net).packed_bytes());
  CHECK_THROWS_AS(WeightMatrix(3, 4).map(Storage::int8, {}), Error);
}
