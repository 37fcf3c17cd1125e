#include "catch.hpp"
#include "io/dataset_files.hpp"
#include "io/temporary_folder.hpp"
#include "shared.hpp"

#include <moevit/io/dataset.hpp>

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace moevit;
using test::Bytes;
using test::TemporaryFolder;
using test::write_bytes;

const Preprocessing one_pixel{.height = 1, .width = 1, .channels = 1, .mean = {0}, .deviation = {1.0f / 255}};

float first_value(const Dataset& dataset, Index image) {
  std::vector<float> out(1);
  dataset.read(image, one_pixel, out);
  return out[0];
}

void write_idx(const TemporaryFolder& folder, const std::string& split, std::uint8_t value) {
  write_bytes(folder / (split + "-images-idx3-ubyte"), test::idx({1, 1, 1}, {value}));
  write_bytes(folder / (split + "-labels-idx1-ubyte.gz"), test::gzip(test::idx({1}, {4})));
}

TEST_CASE("open_dataset: IDX by folder, split and file") {
  const TemporaryFolder folder;
  write_idx(folder, "train", 100);
  CHECK(first_value(*open_dataset(folder.path()), 0) == Approx(100));  // the only split
  write_idx(folder, "t10k", 50);
  CHECK(first_value(*open_dataset(folder.path(), {.split = "t10k"}), 0) == Approx(50));
  CHECK(first_value(*open_dataset(folder / "t10k-images-idx3-ubyte"), 0) == Approx(50));
  CHECK(open_dataset(folder.path(), {.split = "train"})->label(0) == 4);
  CHECK_THROWS_WITH(open_dataset(folder.path()), Catch::Contains("several splits (t10k, train)"));
  CHECK_THROWS_WITH(open_dataset(folder.path(), {.split = "test"}),
                    Catch::Contains("no split 'test', only: t10k, train"));
  std::filesystem::remove(folder / "t10k-labels-idx1-ubyte.gz");
  CHECK_THROWS_WITH(open_dataset(folder.path(), {.split = "t10k"}),
                    Catch::Contains("its labels, t10k-labels-idx1-ubyte"));
}

TEST_CASE("open_dataset: IDX names with a dot, as some archives unpack them") {
  const TemporaryFolder folder;
  write_bytes(folder / "t10k-images.idx3-ubyte", test::idx({1, 1, 1}, {9}));
  write_bytes(folder / "t10k-labels.idx1-ubyte", test::idx({1}, {2}));
  CHECK(open_dataset(folder.path())->label(0) == 2);
}

TEST_CASE("open_dataset: CIFAR by folder, split and file") {
  const TemporaryFolder folder;
  write_bytes(folder / "data_batch_2.bin", test::cifar_record({2}, 1, 1, 1));
  write_bytes(folder / "data_batch_1.bin", test::cifar_record({1}, 1, 1, 1));
  write_bytes(folder / "test_batch.bin", test::cifar_record({7}, 1, 1, 1));
  const auto train = open_dataset(folder.path(), {.split = "train"});
  CHECK(train->size() == 2);
  CHECK(train->label(0) == 1);
  CHECK(train->class_names().empty());
  CHECK(open_dataset(folder.path(), {.split = "test"})->label(0) == 7);
  CHECK(open_dataset(folder / "test_batch.bin")->label(0) == 7);
  const std::string names = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
  write_bytes(folder / "batches.meta.txt", Bytes(names.begin(), names.end()));
  CHECK(open_dataset(folder / "test_batch.bin")->class_names()[7] == "h");
}

TEST_CASE("open_dataset: CIFAR-100 by its names") {
  const TemporaryFolder folder;
  write_bytes(folder / "test.bin", test::cifar_record({1, 42}, 1, 1, 1));
  CHECK(open_dataset(folder.path())->label(0) == 42);
}

TEST_CASE("open_dataset: one folder per class, sorted, nothing left out silently") {
  const TemporaryFolder folder;
  for (const char* name : {"dog", "cat", "Ant"}) std::filesystem::create_directory(folder / name);
  write_bytes(folder / "dog/1.pgm", test::pixel_pgm(30));
  write_bytes(folder / "cat/2.PGM", test::pixel_pgm(20));
  write_bytes(folder / "cat/10.pgm", test::pixel_pgm(10));
  write_bytes(folder / "cat/notes.txt", {'x'});
  write_bytes(folder / "README", {'x'});
  const auto dataset = open_dataset(folder.path());
  CHECK(dataset->class_names() == std::vector<std::string>{"Ant", "cat", "dog"});
  REQUIRE(dataset->size() == 3);
  CHECK(dataset->name(0) == (folder / "cat/10.pgm").string());
  CHECK(first_value(*dataset, 0) == Approx(10));
  CHECK(first_value(*dataset, 1) == Approx(20));
  CHECK(dataset->label(1) == 1);
  CHECK(dataset->label(2) == 2);
  CHECK(dataset->skipped() ==
        std::vector<std::string>{(folder / "README").string(), (folder / "cat/notes.txt").string()});
}

TEST_CASE("open_dataset: a split may be a folder") {
  const TemporaryFolder folder;
  for (const char* name : {"train/a", "val/a", "val/b"}) std::filesystem::create_directories(folder / name);
  write_bytes(folder / "train/a/1.pgm", test::pixel_pgm(1));
  write_bytes(folder / "val/b/1.pgm", test::pixel_pgm(2));
  CHECK(open_dataset(folder.path(), {.split = "val"})->label(0) == 1);
  CHECK_THROWS_WITH(open_dataset(folder.path(), {.split = "test"}), Catch::Contains("no split 'test'"));
  CHECK_THROWS_WITH(open_dataset(folder.path()), Catch::Contains("a folder among images"));
}

TEST_CASE("open_dataset: a folder of images and a single image have no labels") {
  const TemporaryFolder folder;
  write_bytes(folder / "b.pgm", test::pixel_pgm(2));
  write_bytes(folder / "a.pgm", test::pixel_pgm(1));
  const auto images = open_dataset(folder.path());
  CHECK(images->size() == 2);
  CHECK(images->label(1) == -1);
  CHECK(first_value(*images, 0) == Approx(1));
  const auto single = open_dataset(folder / "b.pgm");
  CHECK(single->size() == 1);
  CHECK(single->label(0) == -1);
  CHECK(first_value(*single, 0) == Approx(2));
  CHECK_THROWS_AS(open_dataset(folder / "b.pgm", {.split = "train"}), Error);
}

TEST_CASE("open_dataset: what is none or more than one kind is an error") {
  const TemporaryFolder folder;
  CHECK_THROWS_WITH(open_dataset(folder.path()), Catch::Contains("no image"));
  CHECK_THROWS_WITH(open_dataset(folder / "absent"), Catch::Contains("no such file or folder"));
  write_bytes(folder / "a.pgm", test::pixel_pgm(1));
  std::filesystem::create_directory(folder / "class");
  CHECK_THROWS_WITH(open_dataset(folder.path()), Catch::Contains("more than one kind"));
}

TEST_CASE("open_dataset: a damaged image is found when it is read, and named") {
  const TemporaryFolder folder;
  write_bytes(folder / "a.png", {1, 2, 3});
  const auto images = open_dataset(folder.path());
  std::vector<float> out(1);
  CHECK_THROWS_WITH(images->read(0, one_pixel, out), Catch::Contains("a.png: not an image"));
}

TEST_CASE("open_dataset: the limits reach the files") {
  const TemporaryFolder folder;
  write_bytes(folder / "a.pgm", test::pixel_pgm(1));
  const auto images = open_dataset(folder.path(), {.split = "", .limits = {.max_file_bytes = 5}});
  std::vector<float> out(1);
  CHECK_THROWS_WITH(images->read(0, one_pixel, out), Catch::Contains("the limit for a file is 5"));
}

TEST_CASE("open_dataset: the MNIST test set") {
  const auto folder = test::shared("data/vit");
  if (!folder) return;
  const auto dataset = open_dataset(*folder / "t10k-images-idx3-ubyte.gz");
  REQUIRE(dataset->size() == 10000);
  CHECK(dataset->label(0) == 7);  // the first digits of the test set are 7, 2, 1, 0
  CHECK(dataset->label(1) == 2);
  CHECK(dataset->label(2) == 1);
  CHECK(dataset->label(3) == 0);
  const Preprocessing target{.height = 28, .width = 28, .channels = 1, .mean = {0}, .deviation = {1}};
  std::vector<float> out(28 * 28);
  dataset->read(0, target, out);
  CHECK(*std::max_element(out.begin(), out.end()) > 0.9f);
  CHECK(out[0] == 0.0f);
}

TEST_CASE("open_dataset: Fashion-MNIST as Debian installs it") {
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    return test::skip("needs the Debian package dataset-fashion-mnist");
  }
  const auto dataset = open_dataset(folder, {.split = "t10k"});
  REQUIRE(dataset->size() == 10000);
  std::vector<Index> images_of_class(10, 0);
  for (Index image = 0; image < dataset->size(); ++image)
    ++images_of_class[static_cast<std::size_t>(dataset->label(image))];
  CHECK(images_of_class == std::vector<Index>(10, 1000));
}

}  // namespace
