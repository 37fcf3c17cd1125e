// Segmenters: any size, any batch, windows; their gradients; their files.
#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"
#include "models/dense_passes.hpp"
#include "models/dense_reference.hpp"
#include "models/small_dense_models.hpp"

#include <moevit/io/backbone_weights.hpp>
#include <moevit/models/cvt.hpp>

#include <thread>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr Index classes = SmallSegmenter::classes, channels = SmallSegmenter::channels;

template <class Net>
std::vector<float> segmented(const Net& net, const std::vector<float>& images, MapSize size, Index threads = 1) {
  const Index count = std::ssize(images) / size.places() / channels;
  Context context = net.context({.images = std::max<Index>(count, 1), .threads = threads}, size);
  std::vector<float> logits(static_cast<std::size_t>(count * size.places() * classes), 77.f);
  net.segment(images, size, logits, context);
  return logits;
}

std::vector<float> crop(const std::vector<float>& image, MapSize size, MapSize window, Index top, Index left) {
  std::vector<float> part;
  for (Index row = top; row < top + window.height; ++row) {
    const auto first = image.begin() + (row * size.width + left) * channels;
    part.insert(part.end(), first, first + window.width * channels);
  }
  return part;
}

template <class Net>
void check_same_bits() {
  Net net;
  randomise(net.parameters(), 1);
  for (const MapSize size : {MapSize{13, 22}, MapSize{1, 1}, MapSize{16, 16}}) {
    CAPTURE(size.height, size.width);
    const std::vector<float> images = random_images(3, size, channels, 5);
    const std::vector<float> all = segmented(net, images, size);
    for (const Index threads : {2, 3}) CHECK(segmented(net, images, size, threads) == all);
    const Index pixels = size.places();
    for (Index image = 0; image < 3; ++image) {
      const auto first = images.begin() + image * pixels * channels;
      const std::vector<float> alone = segmented(net, {first, first + pixels * channels}, size);
      CHECK(std::equal(alone.begin(), alone.end(), all.begin() + image * pixels * classes));
    }
  }
  CHECK(segmented(net, {}, {5, 4}).empty());
}

}  // namespace

TEST_CASE("segmenters give an image the same bits with any threads and in any batch") {
  check_same_bits<SmallSegmenter>();
  check_same_bits<SparseSegmenter>();
}

TEST_CASE("a segmenter resizes what its head makes of the maps of its backbone") {
  SmallSegmenter net;
  randomise(net.parameters(), 1);
  constexpr MapSize size{13, 22};
  const std::vector<float> images = random_images(2, size, channels, 5);
  Context context = net.context({.images = 2}, size);
  const auto sizes = SmallSegmenter::map_sizes(size);
  std::vector<std::vector<float>> maps;
  std::vector<MatrixView> views;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    maps.emplace_back(static_cast<std::size_t>(2 * sizes[i].places() * map_widths<SmallBackbone>[i]));
  for (std::size_t i = 0; i < sizes.size(); ++i)
    views.emplace_back(maps[i].data(), 2 * sizes[i].places(), map_widths<SmallBackbone>[i]);
  net.backbone().forward_maps(images, size, views, context);
  using Head = SmallSegmenter::HeadType;
  ScratchBytes scratch = Head::scratch(2, sizes);
  scratch.shared += Head::saved_bytes(2, sizes, false);
  Workspace workspace(scratch);
  reference::Maps logits(2, sizes[0], classes);
  std::vector<float> outputs(logits.values.size());
  net.head().forward(views, sizes, 2, Head::take_saved(2, sizes, false, workspace.shared()), outputs.data(), workspace);
  logits.values = reference::to_double(outputs);
  const std::vector<float> found = segmented(net, images, size);
  CHECK(reference::relative_error({found.data(), 2 * size.places(), classes},
                                  reference::resize(logits, size).matrix()) < 1e-5);
}

TEST_CASE("many threads share a const segmenter") {
  SmallSegmenter net;
  randomise(net.parameters(), 1);
  const std::vector<float> images = random_images(1, {12, 17}, channels, 5),
                           expected = segmented(net, images, {12, 17});
  std::vector<std::vector<float>> found(3);
  std::vector<std::thread> threads;
  for (auto& own : found) threads.emplace_back([&] { own = segmented(net, images, {12, 17}); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& own : found) CHECK(own == expected);
}

TEST_CASE("sliding windows: one that covers the image changes nothing, several are averaged") {
  SmallSegmenter net;
  randomise(net.parameters(), 1);
  constexpr MapSize size{13, 22};
  const std::vector<float> images = random_images(2, size, channels, 5), whole = segmented(net, images, size);
  const auto slide = [&](const SlidingWindow& sliding, Index threads) {
    std::vector<float> logits(whole.size(), 77.f);
    Context context = net.context({.images = 2, .threads = threads}, {4, 4});  // grows
    net.segment(images, size, logits, context, sliding);
    return logits;
  };
  CHECK(slide({{13, 22}, {3, 3}}, 1) == whole);
  CHECK(slide({{50, 40}, {50, 40}}, 1) == whole);

  for (const SlidingWindow& sliding : {SlidingWindow{{8, 10}, {4, 7}}, SlidingWindow{{20, 6}, {11, 6}}}) {
    const MapSize window{std::min<Index>(13, sliding.window.height), sliding.window.width};
    const auto starts = [](Index extent, Index side, Index stride) {
      std::vector<Index> list;
      for (Index start = 0; start < extent - side; start += stride) list.push_back(start);
      list.push_back(extent - side);
      return list;
    };
    std::vector<double> sums(whole.size()), counts(whole.size());
    const auto pixels = static_cast<Index>(size.places());
    for (Index image = 0; image < 2; ++image)
      for (const Index top : starts(size.height, window.height, sliding.stride.height))
        for (const Index left : starts(size.width, window.width, sliding.stride.width)) {
          const auto first = images.begin() + image * pixels * channels;
          const auto part = segmented(net, crop({first, first + pixels * channels}, size, window, top, left), window);
          for (std::size_t i = 0; i < part.size(); ++i) {
            const Index place = static_cast<Index>(i) / classes, own = static_cast<Index>(i) % classes;
            const Index row = top + place / window.width, column = left + place % window.width;
            const auto at =
                static_cast<std::size_t>(((image * size.height + row) * size.width + column) * classes + own);
            sums[at] += static_cast<double>(part[i]), ++counts[at];
          }
        }
    const std::vector<float> found = slide(sliding, 1);
    CHECK(slide(sliding, 2) == found);
    for (std::size_t i = 0; i < found.size(); ++i) {
      REQUIRE(counts[i] > 0);
      CHECK(static_cast<double>(found[i]) == Approx(sums[i] / counts[i]).margin(1e-5));
    }
  }
  CHECK(contains(error_of([&] { slide({{4, 4}, {5, 4}}, 1); }), "a stride from 1 to it, found 4 and 5"));
}

TEST_CASE("segmenters say what does not fit") {
  SmallSegmenter net;
  Context context = net.context({.images = 1}, {8, 8});
  std::vector<float> images(2 * 8 * 8 * channels), logits(2 * 8 * 8 * classes);
  CHECK(contains(error_of([&] { net.segment(images, {8, 8}, logits, context); }), "at most the 1"));
  CHECK(contains(error_of([&] {
                   net.segment(std::span(images).first(128), {8, 8}, logits, context);
                 }),
                 "logits: expected 192 values"));
  CHECK(contains(error_of([&] { net.segment(images, {0, 8}, logits, context); }), "at least 1 x 1"));
}

TEST_CASE("classes of pixels are those of the logits, resized where the image has another size") {
  constexpr MapSize map{5, 7};
  const std::vector<float> logits = normal_values(map.places() * 3, 8);
  const ConstMatrixView view(logits.data(), map.places(), 3);
  for (const MapSize image : {MapSize{5, 7}, MapSize{1, 1}, MapSize{13, 4}, MapSize{40, 61}}) {
    CAPTURE(image.height, image.width);
    std::vector<float> resized(static_cast<std::size_t>(image.places() * 3));
    Workspace workspace{ScratchBytes{}};
    resize_map(view, map, 1, {resized.data(), image.places(), 3}, image, workspace);
    std::vector<std::int32_t> expected(static_cast<std::size_t>(image.places())), found(expected);
    top_classes_of_pixels({resized.data(), image.places(), 3}, expected);
    top_classes_of_pixels(view, map, found, image);
    CHECK(found == expected);
  }
  std::vector<std::int32_t> found(6);
  CHECK(contains(error_of([&] { top_classes_of_pixels(view, map, found, {2, 2}); }), "room for 4, found 35 and 6"));
  CHECK_THROWS_AS(top_classes_of_pixels({nullptr, 0, 3}, {0, 0}, found, {2, 3}), Error);
}

TEST_CASE("gradients of segmenters are those of differences") {
  check_dense_gradients<SmallSegmenter>(false);
  check_dense_gradients<SparseSegmenter>(true);
}

TEST_CASE("segmenters are saved and loaded by name, backbones of classifiers go into them") {
  const TemporaryFolder folder;
  SmallSegmenter net, other;
  randomise(net.parameters(), 1);
  net.set_class_names({"sky", "road", "tree"});
  save(net, folder / "segmenter.safetensors");
  load(other, folder / "segmenter.safetensors");
  for (std::size_t i = 0; i < net.parameters().size(); ++i)
    CHECK(net.parameters()[i].values() == other.parameters()[i].values());
  CHECK(other.class_names() == net.class_names());

  static constexpr SwinConfig classifier_config = [] {
    SwinConfig config = small_backbone;
    config.form = WindowForm::shrink, config.output_norms = {}, config.classes = 7, config.image = 24;
    return config;
  }();
  Swin<classifier_config> classifier;
  randomise(classifier.parameters(), 3);
  save(classifier, folder / "classifier.safetensors");
  SmallSegmenter fresh;
  const BackboneReport report = load_backbone(fresh, folder / "classifier.safetensors");
  CHECK(report.kept.size() == 6);
  CHECK(report.file.unused.size() == 4);
  Index compared = 0;
  for (const Parameter& mine : fresh.parameters())
    for (const Parameter& theirs : classifier.parameters())
      if (mine.name == "backbone." + theirs.name) {
        CHECK(mine.values() == theirs.values());
        ++compared;
      }
  CHECK(compared == std::ssize(classifier.parameters()) - 4);
  CHECK(contains(error_of([&] { load_backbone(fresh, folder / "missing.safetensors"); }), "missing.safetensors"));
}

TEST_CASE("the backbone of a segmenter begins with a CvT that has a class token, without the token") {
  const TemporaryFolder folder;
  static constexpr CvtConfig classifier_config{
      .image = 16, .channels = 2, .depths = {1, 1, 0, 0}, .dims = {8, 16, 0, 0}, .heads = {1, 2, 0, 0}, .classes = 3};
  static constexpr CvtConfig maps = [] {
    CvtConfig config = classifier_config;
    config.class_token = false, config.classes = 0;
    return config;
  }();
  Cvt<classifier_config> classifier;
  randomise(classifier.parameters(), 3);
  save(classifier, folder / "classifier.safetensors");
  Segmenter<Cvt<maps>, small_upernet> net;
  const BackboneReport report = load_backbone(net, folder / "classifier.safetensors");
  CHECK(report.kept.empty());
  CHECK(std::count(report.file.unused.begin(), report.file.unused.end(), "stages.1.embedding.class_token") == 1);
  const Parameter mine = net.parameters().front();
  CHECK(mine.values() == classifier.parameters().front().values());
  CHECK("backbone." + classifier.parameters().front().name == mine.name);
}
