// Packed segmenters and detectors: close to float32, the same bits for any threads and batch, and from a mapped file.
#include "catch.hpp"
#include "io/temporary_folder.hpp"
#include "models/small_dense_models.hpp"
#include "reference.hpp"
#include "same_bits.hpp"

#include <moevit/io/packed_weights.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr MapSize size{13, 22};
constexpr Index batch = 2;

template <class Model>
std::vector<float> logits_of(const Model& model, std::span<const float> images, Index count, Index threads = 1) {
  std::vector<float> logits(static_cast<std::size_t>(count * size.places() * SmallSegmenter::classes));
  Context run = model.context({.images = count, .threads = threads}, size);
  model.segment(images, size, logits, run);
  return logits;
}

double distance(std::span<const float> found, std::span<const float> expected) {
  const auto count = static_cast<Index>(found.size());
  return reference::relative_error({found.data(), 1, count}, reference::Matrix({expected.data(), 1, count}));
}

/// visit(net, packed net, largest relative error) for every policy.
template <class Net, class Visit>
void for_each_packed(Visit visit) {
  Net net;
  randomise(net.parameters(), 1);
  net.set_class_names({"a", "b", "c"});
  visit(net, pack<Float32>(net), 0.);
  visit(net, pack<Bf16>(net), 0.05);
  visit(net, pack<Bf16Weights>(net), 0.05);
  visit(net, pack<Int8>(net), 0.15);
}

}  // namespace

TEMPLATE_TEST_CASE("packed segmenters are close to float32, with the same bits for any threads and batch", "",
                   SmallSegmenter, SparseSegmenter) {
  const std::vector<float> images = random_images(batch, size, SmallSegmenter::channels, 5);
  for_each_packed<TestType>([&](const TestType& net, const auto& packed, double tolerance) {
    CAPTURE(tolerance);
    const std::vector<float> together = logits_of(packed, images, batch);
    if (std::is_same_v<TestType, SmallSegmenter>)  // rounding may change what a router chooses
      CHECK(distance(together, logits_of(net, images, batch)) <= tolerance);
    CHECK(same_bits(together, logits_of(packed, images, batch, 3)));
    const std::size_t values = images.size() / batch, outputs = together.size() / batch;
    for (std::size_t image = 0; image < batch; ++image)
      CHECK(same_bits(logits_of(packed, std::span(images).subspan(image * values, values), 1),
                      std::span(together).subspan(image * outputs, outputs)));
    Context run = packed.context({.images = batch}, size);
    std::vector<float> by_windows(together.size());
    packed.segment(images, size, by_windows, run, {.window = size, .stride = size});
    CHECK(same_bits(by_windows, together));
  });
}

TEST_CASE("packed detectors find what their float32 models find") {
  const std::vector<float> images = random_images(batch, size, SmallDetector::channels, 5);
  for_each_packed<SmallDetector>([&](const SmallDetector& net, const auto& packed, double tolerance) {
    CAPTURE(tolerance);
    Context run = net.context({.images = batch}, size), other = packed.context({.images = batch}, size);
    const auto values = static_cast<std::size_t>(SmallDetector::output_values(batch, size));
    std::vector<float> expected(values), found(values);
    net.forward(images, size, expected, run);
    packed.forward(images, size, found, other);
    CHECK(distance(found, expected) <= tolerance);
    const DetectionOptions all{.least_score = 0.01};
    const auto seen = packed.detect(images, size, other, all);
    REQUIRE(seen.size() == static_cast<std::size_t>(batch));
    if (tolerance == 0) CHECK(seen.at(0).size() == net.detect(images, size, run, all).at(0).size());
  });
}

TEST_CASE("packed segmenters come back from a mapped file with the same bits") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "packed.safetensors";
  const std::vector<float> images = random_images(batch, size, SmallSegmenter::channels, 5);
  for_each_packed<SparseSegmenter>([&]<class Model>(const SparseSegmenter& net, const Model& packed, double) {
    save(packed, path);
    const auto mapped = load_packed<SparseSegmenter, typename Model::PolicyType>(path);
    CHECK(mapped.class_names() == net.class_names());
    CHECK(same_bits(logits_of(mapped, images, batch), logits_of(packed, images, batch)));
  });
}
