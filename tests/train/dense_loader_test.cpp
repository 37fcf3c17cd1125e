// Loaders of segmentation and detection: the same batches from any number of workers; labels that fit the pixels.
#include <moevit/train/dense_loader.hpp>

#include <moevit/core/thread_pool.hpp>

#include "catch.hpp"
#include "io/detection_files.hpp"
#include "io/image_encoders.hpp"
#include "io/temporary_folder.hpp"

#include <algorithm>
#include <functional>
#include <vector>

using namespace moevit;
using namespace moevit::test;

namespace {

using Catch::Contains;

const Preprocessing target{.height = 12, .width = 8, .channels = 1, .mean = {0.f}, .deviation = {1.f / 255}};

/// Images whose grey value is 10 times the class of the pixel, and their masks.
struct Pairs : TemporaryFolder {
  explicit Pairs(Index count) {
    std::filesystem::create_directories(*this / "train/images");
    std::filesystem::create_directories(*this / "train/masks");
    for (Index i = 0; i < count; ++i) {
      RandomStream random(5, i);
      const auto height = static_cast<int>(5 + random.below(20)), width = static_cast<int>(5 + random.below(20));
      PngRecipe mask{.height = height, .width = width, .color_type = PNG_COLOR_TYPE_GRAY};
      PngRecipe image = mask;
      for (int y = 0; y < height; ++y) {
        const auto number = static_cast<std::uint8_t>(y * 3 / height);
        mask.rows.emplace_back(static_cast<std::size_t>(width), number);
        image.rows.emplace_back(static_cast<std::size_t>(width), static_cast<std::uint8_t>(10 * number + 10));
      }
      const std::string name = std::to_string(100 + i) + ".png";
      write_bytes(*this / "train/images" / name, encode_png(image));
      write_bytes(*this / "train/masks" / name, encode_png(mask));
    }
  }
  std::filesystem::path operator/(const std::string& name) const { return path() / name; }
  SegmentationDataset open() const { return SegmentationDataset::of_folders(path(), {.class_names = {"a", "b", "c"}}); }
};

/// Images of 10 x 20 pixels with one object each.
struct Boxes : TemporaryFolder {
  explicit Boxes(Index count) {
    for (Index i = 0; i < count; ++i) {
      const auto file = path() / (std::to_string(i) + ".pgm");
      write_image(file, 10, 20);
      annotations.images.push_back({file, 10, 20, {{{double(i), 1, 5, 5}, 0, 25}}});
    }
  }
  DetectionAnnotations annotations;
};

DenseLoaderOptions changing() {
  return {.batch = 4,
          .seed = 3,
          .augmentation = {.min_scale = 0.5,
                           .max_scale = 2,
                           .place = WindowPlace::random,
                           .flip = 0.5,
                           .operations = 1,
                           .list = {ImageOperation::identity}}};
}

/// Copies of the batches, as one list of numbers each.
std::vector<std::vector<double>> batches(SegmentationLoader& loader, int count) {
  std::vector<std::vector<double>> kept;
  for (int i = 0; i < count; ++i) {
    const auto batch = loader.next();
    auto& one = kept.emplace_back(batch.images.data(), batch.images.data() + batch.images.size());
    one.insert(one.end(), batch.labels.begin(), batch.labels.end());
    one.insert(one.end(), batch.numbers.begin(), batch.numbers.end());
  }
  return kept;
}
std::vector<std::vector<TrueBox>> batches(DetectionLoader& loader, int count) {
  std::vector<std::vector<TrueBox>> kept;
  for (int i = 0; i < count; ++i)
    for (const auto& objects : loader.next().labels) kept.push_back(objects);
  return kept;
}

/// The same batches from the background and from 1 to 3 workers, and after seeking.
template <class Loader>
void check_same_batches(const typename Loader::Data& dataset, DenseLoaderOptions options) {
  const std::vector<Index> numbers = detail::whole_numbers(dataset.size());
  Loader background(dataset, numbers, target, options);
  const auto expected = batches(background, 9);
  for (const Index workers : {1, 2, 3}) {
    ThreadPool pool(workers);
    Loader loader(dataset, numbers, target, options, pool);
    CHECK(batches(loader, 9) == expected);
    loader.seek(0, 0);
    CHECK(batches(loader, 9) == expected);
  }
  CHECK(std::adjacent_find(expected.begin(), expected.end(), std::not_equal_to<>()) != expected.end());
}

}  // namespace

TEST_CASE("segmentation loader: labels belong to the pixels that they stand for") {
  const Pairs folder(9);
  const SegmentationDataset dataset = folder.open();
  DenseLoaderOptions options = changing();
  options.last_batch = LastBatch::kept;
  SegmentationLoader loader(dataset, detail::whole_numbers(9), target, options);
  CHECK(loader.steps_per_epoch() == 3);
  Index near = 0, far = 0, ignored = 0;
  for (int step = 0; step < 12; ++step) {
    const auto batch = loader.next();
    REQUIRE(std::ssize(batch.labels) == batch.images.rows() * 12 * 8);
    CHECK(batch.images.rows() == (step % 3 == 2 ? 1 : 4));
    for (std::size_t pixel = 0; pixel < batch.labels.size(); ++pixel) {
      const float value = batch.images.data()[pixel];
      const std::int32_t label = batch.labels[pixel];
      if (label == 255) {
        CHECK(value == 0);
        ++ignored;
      } else {
        CHECK(value > 5);  // inside of the image
        (std::abs(value - 10 * static_cast<float>(label) - 10) < 5.5f ? near : far) += 1;
      }
    }
  }
  CHECK(far * 50 < near);  // the resize of pixels smooths and overshoots at the borders of classes
  CHECK(ignored > 0);
}

TEST_CASE("dense loaders: batches do not depend on who prepares them") {
  const Pairs pairs(11);
  check_same_batches<SegmentationLoader>(pairs.open(), changing());
  const Boxes boxes(11);
  check_same_batches<DetectionLoader>(DetectionDataset(boxes.annotations), changing());
}

TEST_CASE("detection loader: objects in pixels of the model's input") {
  const Boxes boxes(5);
  const DetectionDataset dataset(boxes.annotations);
  DetectionLoader loader(dataset, detail::whole_numbers(5), target, {.batch = 5, .order = BatchOrder::as_given});
  const auto batch = loader.next();
  REQUIRE(batch.labels.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    REQUIRE(batch.labels[i].size() == 1);
    CHECK(batch.labels[i][0].box.x == Approx(0.4 * double(i)));  // 20 columns become 8, 10 rows become 12
    CHECK(batch.labels[i][0].box.y == Approx(1.2));
    CHECK(batch.labels[i][0].box.height == Approx(6));
    CHECK(batch.labels[i][0].area == Approx(0.4 * 1.2 * 25));
  }
}

TEST_CASE("dense loaders name what cannot be read, and refuse options without sense") {
  const Pairs folder(4);
  const SegmentationDataset dataset = folder.open();
  write_bytes(folder / "train/masks/102.png", {1, 2, 3});
  SegmentationLoader loader(dataset, detail::whole_numbers(4), target, {.batch = 4});
  CHECK_THROWS_WITH(loader.next(), Contains("masks/102.png"));
  DenseLoaderOptions options;
  options.augmentation.flip = 2;
  CHECK_THROWS_AS(SegmentationLoader(dataset, {0}, target, options), Error);
}
