// Detectors: any size, any batch; their gradients; their files.
#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"
#include "models/dense_passes.hpp"

#include <moevit/io/backbone_weights.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr Index channels = SmallDetector::channels;

struct Seen {
  std::vector<float> outputs;
  std::vector<std::vector<Detection>> detections;
};

template <class Net>
Seen seen(const Net& net, const std::vector<float>& images, MapSize size, Index threads = 1) {
  const Index count = std::ssize(images) / size.places() / channels;
  Context context = net.context({.images = std::max<Index>(count, 1), .threads = threads}, size);
  Seen result;
  result.outputs.resize(static_cast<std::size_t>(Net::output_values(count, size)));
  net.forward(images, size, result.outputs, context);
  result.detections = net.detect(images, size, context, {.least_score = 0.01});
  return result;
}

bool same(const std::vector<Detection>& a, const std::vector<Detection>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Detection& x, const Detection& y) {
    return x.box == y.box && x.category == y.category && x.score == y.score;
  });
}

template <class Net>
void check_same_bits() {
  Net net;
  randomise(net.parameters(), 1);
  for (const MapSize size : {MapSize{13, 22}, MapSize{1, 1}, MapSize{32, 16}}) {
    CAPTURE(size.height, size.width);
    const std::vector<float> images = random_images(3, size, channels, 5);
    const Seen all = seen(net, images, size);
    REQUIRE(all.detections.size() == 3);
    for (const Index threads : {2, 3}) CHECK(seen(net, images, size, threads).outputs == all.outputs);
    for (std::size_t image = 0; image < 3; ++image) {
      const auto first = images.begin() + static_cast<Index>(image) * size.places() * channels;
      const Seen alone = seen(net, {first, first + size.places() * channels}, size);
      CHECK(same(alone.detections[0], all.detections[image]));
      for (const Detection& detection : all.detections[image]) {
        CHECK(detection.box.x >= 0);
        CHECK(detection.box.y >= 0);
        CHECK(detection.box.right() <= static_cast<double>(size.width) + 1e-9);
        CHECK(detection.box.bottom() <= static_cast<double>(size.height) + 1e-9);
      }
    }
  }
  CHECK(seen(net, {}, {5, 4}).detections.empty());
}

}  // namespace

TEST_CASE("detectors give an image the same boxes with any threads and in any batch") {
  check_same_bits<SmallDetector>();
  check_same_bits<SparseDetector>();
}

TEST_CASE("levels of a detector lie as far apart as its strides say") {
  const auto levels = SmallDetector::levels_of({16, 24});
  REQUIRE(levels.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(levels[i].stride == Index{2} << i);
  CHECK(levels[3].size == MapSize{1, 2});
  CHECK(levels[1].x(7) == 6);  // column 1 of 6 in row 1
  CHECK(levels[1].y(7) == 6);
}

TEST_CASE("gradients of detectors are those of differences") {
  check_dense_gradients<SmallDetector>(true);
  check_dense_gradients<SparseDetector>(false);
}

TEST_CASE("detectors are saved and loaded by name, backbones of segmenters' type go into them") {
  const TemporaryFolder folder;
  SmallDetector net, other;
  randomise(net.parameters(), 1);
  save(net, folder / "detector.safetensors");
  load(other, folder / "detector.safetensors");
  for (std::size_t i = 0; i < net.parameters().size(); ++i)
    CHECK(net.parameters()[i].values() == other.parameters()[i].values());
  SmallSegmenter segmenter;
  CHECK(contains(error_of([&] { load(segmenter, folder / "detector.safetensors"); }), "unexpected tensor"));
  save(net.backbone(), folder / "backbone.safetensors");
  SmallDetector fresh;
  const BackboneReport report = load_backbone(fresh, folder / "backbone.safetensors");
  CHECK(report.kept.empty());
  CHECK(report.file.unused.empty());
  CHECK(fresh.parameters()[0].values() == net.parameters()[0].values());
}
