#include "catch.hpp"
#include "io/dataset_files.hpp"
#include "io/temporary_folder.hpp"

#include <moevit/io/datasets/cifar.hpp>

#include <vector>

namespace {

using namespace moevit;
using test::Bytes;
using test::cifar_record;
using test::write_bytes;

const Preprocessing as_bytes{.height = 32, .width = 32, .mean = {0}, .deviation = {1.0f / 255}};

Bytes joined(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

TEST_CASE("cifar: several batches of ten classes") {
  const test::TemporaryFolder folder;
  write_bytes(folder / "1.bin", joined(cifar_record({3}, 10, 20, 30), cifar_record({9}, 1, 2, 3)));
  write_bytes(folder / "2.bin", cifar_record({0}, 40, 50, 60));
  const CifarDataset dataset(CifarKind::cifar10, {folder / "1.bin", folder / "2.bin"});
  CHECK(dataset.size() == 3);
  CHECK(dataset.label(0) == 3);
  CHECK(dataset.label(1) == 9);
  CHECK(dataset.label(2) == 0);
  CHECK(dataset.name(1) == (folder / "1.bin").string() + "[1]");
  CHECK(dataset.name(2) == (folder / "2.bin").string() + "[0]");
  std::vector<float> out(32 * 32 * 3);
  dataset.read(2, as_bytes, out);
  for (std::size_t pixel : {std::size_t{0}, std::size_t{500}, std::size_t{1023}}) {
    CHECK(out[pixel * 3] == Approx(40));
    CHECK(out[pixel * 3 + 1] == Approx(50));
    CHECK(out[pixel * 3 + 2] == Approx(60));
  }
}

TEST_CASE("cifar: rows and columns of a plane keep their places") {
  const test::TemporaryFolder folder;
  Bytes record = cifar_record({1}, 0, 0, 0);
  record[1 + 1024 + 2 * 32 + 5] = 77;  // green, row 2, column 5
  write_bytes(folder / "1.bin", record);
  std::vector<float> out(32 * 32 * 3);
  CifarDataset(CifarKind::cifar10, {folder / "1.bin"}).read(0, as_bytes, out);
  CHECK(out[(2 * 32 + 5) * 3 + 1] == Approx(77));
  CHECK(out[(2 * 32 + 5) * 3] == Approx(0));
}

TEST_CASE("cifar: of a hundred classes the fine label counts") {
  const test::TemporaryFolder folder;
  write_bytes(folder / "train.bin", joined(cifar_record({11, 99}, 1, 1, 1), cifar_record({0, 5}, 2, 2, 2)));
  const CifarDataset dataset(CifarKind::cifar100, {folder / "train.bin"});
  CHECK(dataset.size() == 2);
  CHECK(dataset.label(0) == 99);
  CHECK(dataset.label(1) == 5);
}

TEST_CASE("cifar: class names from their file") {
  const test::TemporaryFolder folder;
  write_bytes(folder / "1.bin", cifar_record({3}, 10, 20, 30));
  const std::string names = "a\nb\r\nc\nd\ne\nf\ng\nh\ni\nj\n\n";
  write_bytes(folder / "names.txt", Bytes(names.begin(), names.end()));
  const CifarDataset dataset(CifarKind::cifar10, {folder / "1.bin"}, folder / "names.txt");
  CHECK(dataset.class_names().size() == 10);
  CHECK(dataset.class_names()[1] == "b");
  write_bytes(folder / "few.txt", {'a', '\n', 'b'});
  CHECK_THROWS_WITH(CifarDataset(CifarKind::cifar10, {folder / "1.bin"}, folder / "few.txt"),
                    Catch::Contains("expected 10 class names, found 2"));
}

TEST_CASE("cifar: partial records, labels out of range and no files are errors") {
  const test::TemporaryFolder folder;
  Bytes record = cifar_record({3}, 10, 20, 30);
  record.pop_back();
  write_bytes(folder / "short.bin", record);
  CHECK_THROWS_WITH(CifarDataset(CifarKind::cifar10, {folder / "short.bin"}),
                    Catch::Contains("multiple of 3073 bytes, found 3072"));
  write_bytes(folder / "empty.bin", {});
  CHECK_THROWS_AS(CifarDataset(CifarKind::cifar10, {folder / "empty.bin"}), Error);
  write_bytes(folder / "label.bin", cifar_record({10}, 1, 2, 3));
  CHECK_THROWS_WITH(CifarDataset(CifarKind::cifar10, {folder / "label.bin"}),
                    Catch::Contains("image 0 has label 10, expected 0 to 9"));
  CHECK_THROWS_AS(CifarDataset(CifarKind::cifar10, {}), Error);
  CHECK_THROWS_AS(CifarDataset(CifarKind::cifar10, {folder / "absent.bin"}), Error);
}

}  // namespace
