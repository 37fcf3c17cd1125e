// The loader: the same batches from the background thread and any number of workers, after seeking, with errors.
#include <moevit/io/dataset.hpp>
#include <moevit/io/datasets/memory.hpp>
#include <moevit/train/loader.hpp>

#include <moevit/core/thread_pool.hpp>

#include "catch.hpp"
#include "io/dataset_files.hpp"
#include "io/temporary_folder.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

using namespace moevit;

namespace {

using Catch::Contains;

const Preprocessing target{.height = 6, .width = 5, .channels = 3, .mean = {0.4f}, .deviation = {0.3f}};

MemoryDataset random_images(Index count) {
  std::vector<Image> images;
  std::vector<Index> labels;
  for (Index i = 0; i < count; ++i) {
    RandomStream random(9, i);
    images.emplace_back(6, 5, 3);
    for (Index byte = 0; byte < 6 * 5 * 3; ++byte)
      images.back().row(0)[byte] = static_cast<std::uint8_t>(random.below(256));
    labels.push_back(i % 4);
  }
  return MemoryDataset(std::move(images), std::move(labels));
}

/// A batch that outlives its loader.
struct Kept {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  std::vector<Index> numbers;
  Index epoch, step;
  bool operator==(const Kept&) const = default;
};

Kept keep(const Batch& batch) {
  return {{batch.images.data(), batch.images.data() + batch.images.size()},
          {batch.labels.begin(), batch.labels.end()},
          {batch.numbers.begin(), batch.numbers.end()},
          batch.epoch,
          batch.step};
}

std::vector<Kept> batches(Loader& loader, int count) {
  std::vector<Kept> result;
  for (int i = 0; i < count; ++i) result.push_back(keep(loader.next()));
  return result;
}

LoaderOptions changing() {
  return {.batch = 4, .seed = 3, .augmentation = {.crop_padding = 1, .flip = 0.5, .operations = 2}};
}

/// 30 images, the one of number 21 cannot be read.
class Damaged : public Dataset {
 public:
  Index size() const override { return 30; }
  Image pixels(Index image) const override {
    if (image == 21) fail(name(image), ": damaged");
    return Image(6, 5, 3);
  }
  std::string name(Index image) const override { return "file " + std::to_string(image); }
  Index label(Index) const override { return 0; }
};

}  // namespace

TEST_CASE("a plain loader gives preprocessed images in the order of the epoch") {
  const MemoryDataset images = random_images(10);
  const std::vector<Index> numbers{9, 1, 3, 5, 7, 0, 2, 4};
  Loader loader(images, numbers, target, {.batch = 3, .seed = 5});
  CHECK(loader.steps_per_epoch() == 2);
  for (Index epoch = 0; epoch < 3; ++epoch) {
    const std::vector<Index> order = epoch_order(8, 5, epoch);
    for (Index step = 0; step < 2; ++step) {
      CHECK(loader.epoch() == epoch);
      CHECK(loader.step() == step);
      const Batch batch = loader.next();
      CHECK(batch.epoch == epoch);
      CHECK(batch.step == step);
      REQUIRE(batch.images.rows() == 3);
      REQUIRE(batch.images.cols() == 6 * 5 * 3);
      for (Index i = 0; i < 3; ++i) {
        const Index number = numbers[static_cast<std::size_t>(order[static_cast<std::size_t>(step * 3 + i)])];
        std::vector<float> expected(6 * 5 * 3);
        images.read(number, target, expected);
        CHECK(batch.numbers[static_cast<std::size_t>(i)] == number);
        CHECK(batch.labels[static_cast<std::size_t>(i)] == number % 4);
        CHECK(std::equal(expected.begin(), expected.end(), batch.images.row_data(i)));
      }
    }
  }
}

TEST_CASE("the images that are left at the end of an epoch are dropped or kept") {
  const MemoryDataset images = random_images(10);
  const std::vector<Index> numbers = detail::whole_numbers(10);
  Loader dropping(images, numbers, target, {.batch = 4});
  CHECK(dropping.steps_per_epoch() == 2);
  LoaderOptions options{.batch = 4, .order = BatchOrder::as_given, .last_batch = LastBatch::kept};
  Loader keeping(images, numbers, target, options);
  CHECK(keeping.steps_per_epoch() == 3);
  const std::vector<Kept> all = batches(keeping, 4);
  CHECK(all[0].numbers == std::vector<Index>{0, 1, 2, 3});
  CHECK(all[2].numbers == std::vector<Index>{8, 9});
  CHECK(all[2].images.size() == 2 * 6 * 5 * 3);
  CHECK(all[3].numbers == all[0].numbers);
  options.batch = 100;
  CHECK(Loader(images, numbers, target, options).next().images.rows() == 10);
}

TEST_CASE("batches do not depend on who prepares them") {
  const MemoryDataset images = random_images(23);
  const std::vector<Index> numbers = detail::whole_numbers(23);
  Loader background(images, numbers, target, changing());
  const std::vector<Kept> expected = batches(background, 17);
  std::set<std::vector<float>> different;
  for (const Kept& batch : expected) different.insert(batch.images);
  CHECK(different.size() == expected.size());
  for (const Index ahead : {1, 2, 9}) {
    LoaderOptions options = changing();
    options.ahead = ahead;
    Loader loader(images, numbers, target, options);
    CHECK(batches(loader, 17) == expected);
  }
  SerialExecutor serial;
  Loader alone(images, numbers, target, changing(), serial);
  CHECK(batches(alone, 17) == expected);
  for (const Index workers : {1, 2, 3}) {
    ThreadPool pool(workers);
    Loader loader(images, numbers, target, changing(), pool);
    CHECK(batches(loader, 17) == expected);
  }
}

TEST_CASE("after seeking the same batches come") {
  const MemoryDataset images = random_images(23);
  const std::vector<Index> numbers = detail::whole_numbers(23);
  SerialExecutor serial;
  Loader background(images, numbers, target, changing()), now(images, numbers, target, changing(), serial);
  const std::vector<Kept> expected = batches(background, 17);
  for (Loader* loader : {&background, &now})
    for (const std::size_t first : {7u, 0u, 16u, 4u, 5u}) {
      const auto batch = static_cast<Index>(first);
      loader->seek(batch / 5, batch % 5);
      CHECK(loader->epoch() == batch / 5);
      CHECK(keep(loader->next()) == expected[first]);
      if (first < 16) CHECK(keep(loader->next()) == expected[first + 1]);
    }
  background.seek(1, 5);  // after the last step
  CHECK(keep(background.next()) == expected[10]);
  CHECK_THROWS_WITH(background.seek(0, 6), Contains("step 6"));
  CHECK_THROWS_AS(background.seek(-1, 0), Error);
}

TEST_CASE("an image that cannot be read is an error of next(), and batches before it come") {
  const Damaged images;
  SerialExecutor serial;
  const LoaderOptions options{.batch = 5, .order = BatchOrder::as_given};
  Loader background(images, detail::whole_numbers(30), target, options);
  Loader now(images, detail::whole_numbers(30), target, options, serial);
  for (Loader* loader : {&background, &now}) {
    for (int i = 0; i < 4; ++i) CHECK(loader->next().step == i);
    for (int again = 0; again < 2; ++again) CHECK_THROWS_WITH(loader->next(), Contains("file 21: damaged"));
    CHECK(loader->step() == 4);
    loader->seek(0, 5);
    CHECK(loader->next().step == 5);
    CHECK(loader->next().epoch == 1);
  }
}

TEST_CASE("a damaged file in a folder is named") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "cat");
  test::write_bytes(folder / "cat/1.pgm", test::pixel_pgm(7));
  test::write_bytes(folder / "cat/2.pgm", {'P', '5'});
  const auto images = open_dataset(folder.path());
  Loader loader(*images, {0, 1}, target, {.batch = 2});
  CHECK_THROWS_WITH(loader.next(), Contains("2.pgm"));
}

TEST_CASE("a loader may go at any moment") {
  const MemoryDataset images = random_images(23);
  for (int taken = 0; taken < 12; ++taken) {
    Loader loader(images, detail::whole_numbers(23), target, changing());
    for (int i = 0; i < taken; ++i) loader.next();
    if (taken % 3 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  const Damaged damaged;
  for (int taken = 0; taken < 4; ++taken) Loader(damaged, detail::whole_numbers(30), target, {.batch = 7});
}

TEST_CASE("loaders refuse what makes no batch") {
  const MemoryDataset images = random_images(4);
  const auto load = [&](std::vector<Index> numbers, LoaderOptions options) {
    Loader(images, std::move(numbers), target, std::move(options));
  };
  CHECK_NOTHROW(load({0, 1, 2, 3}, {.batch = 4}));
  CHECK_THROWS_WITH(load({0, 1, 2}, {.batch = 4}), Contains("3 images make no batch of 4"));
  CHECK_THROWS_AS(load({}, {.batch = 4, .last_batch = LastBatch::kept}), Error);
  CHECK_THROWS_WITH(load({0, 4}, {.batch = 1}), Contains("image 4 of 4"));
  CHECK_THROWS_AS(load({0}, {.batch = 0}), Error);
  CHECK_THROWS_AS(load({0}, {.batch = 1, .ahead = 0}), Error);
  CHECK_THROWS_AS(load({0}, {.batch = 1, .augmentation = {.flip = 2}}), Error);
}

TEST_CASE("images in memory are resized once, with their labels and names") {
  const test::TemporaryFolder folder;
  test::write_bytes(folder / "images", test::idx({2, 1, 1}, {8, 200}));
  test::write_bytes(folder / "labels", test::idx({2}, {5, 6}));
  const IdxDataset files(folder / "images", folder / "labels");
  ThreadPool pool(2);
  const MemoryDataset memory(files, {.height = 2, .width = 3, .channels = 1}, pool);
  CHECK(memory.size() == 2);
  CHECK(memory.label(1) == 6);
  CHECK(memory.name(1) == files.name(1));
  const Image image = memory.pixels(1);
  CHECK(image.height() == 2);
  CHECK(image.width() == 3);
  CHECK(std::all_of(image.pixels().begin(), image.pixels().end(), [](std::uint8_t value) { return value == 200; }));
  CHECK_THROWS_AS(memory.pixels(2), Error);
  CHECK_THROWS_AS(MemoryDataset(Damaged(), target), Error);
  CHECK_THROWS_AS(MemoryDataset(std::vector<Image>(2, Image(1, 1, 1)), {1}), Error);
  CHECK(MemoryDataset(std::vector<Image>(2, Image(1, 1, 1))).label(1) == -1);
}
