#include "catch.hpp"
#include "io/dataset_files.hpp"
#include "io/temporary_folder.hpp"

#include <moevit/io/datasets/idx.hpp>

#include <cstdint>
#include <vector>

namespace {

using namespace moevit;
using test::Bytes;
using test::gzip;
using test::idx;
using test::write_bytes;

Preprocessing bytes_as_they_are(Index height, Index width) {
  return {.height = height, .width = width, .channels = 1, .mean = {0}, .deviation = {1.0f / 255}};
}

TEST_CASE("idx: plain and gzipped arrays") {
  const Bytes file = idx({2, 1, 3}, {1, 2, 3, 4, 5, 6});
  for (const Bytes& bytes : {file, gzip(file)}) {
    const IdxArray array = decode_idx(bytes, 3);
    CHECK(array.shape == Shape{2, 1, 3});
    CHECK(array.values == Bytes{1, 2, 3, 4, 5, 6});
  }
}

TEST_CASE("idx: well packed content is not mistaken for too much") {
  const Bytes zeros(1 << 20);  // packs a thousandfold
  const Bytes packed = gzip(idx({1 << 20}, zeros));
  CHECK(packed.size() < 1100);
  CHECK(decode_idx(packed, 1).values == zeros);
}

TEST_CASE("idx: headers that say something else are errors") {
  Bytes file = idx({2, 2, 2}, Bytes(8));
  CHECK_NOTHROW(decode_idx(file, 3));
  CHECK_THROWS_WITH(decode_idx(file, 1, {}, "labels"), Catch::Contains("labels: IDX: expected 1 axes, found 3"));
  file[2] = 0x0D;
  CHECK_THROWS_WITH(decode_idx(file, 3), Catch::Contains("found type 13"));
  file = idx({2, 2, 2}, Bytes(8));
  file[0] = 1;
  CHECK_THROWS_WITH(decode_idx(file, 3), Catch::Contains("not an IDX file"));
  CHECK_THROWS_WITH(decode_idx(idx({2, 0, 2}, {}), 3), Catch::Contains("[2, 0] is empty"));
  CHECK_THROWS_AS(decode_idx(Bytes{}, 3), Error);
}

TEST_CASE("idx: content longer or shorter than the header says is an error") {
  for (std::size_t count : {0u, 7u, 9u, 100u}) {
    const Bytes file = idx({2, 2, 2}, Bytes(count, 1));
    CHECK_THROWS_AS(decode_idx(file, 3), Error);
    CHECK_THROWS_AS(decode_idx(gzip(file), 3), Error);
  }
  Bytes trailing = gzip(idx({1}, {5}));
  CHECK_NOTHROW(decode_idx(trailing, 1));
  trailing.push_back(0);
  CHECK_THROWS_WITH(decode_idx(trailing, 1), Catch::Contains("after the end of the packed data"));
}

TEST_CASE("idx: claims are checked before memory is taken") {
  const Bytes huge = idx({0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, {1, 2, 3});
  CHECK_THROWS_WITH(decode_idx(huge, 3), Catch::Contains("more than the limit"));
  // 200 MB are within the limit, but not within what this file can unpack to.
  const Bytes small = idx({200'000'000}, {1, 2, 3});
  CHECK_THROWS_WITH(decode_idx(small, 1), Catch::Contains("the content ends in the values"));
  CHECK_THROWS_WITH(decode_idx(gzip(small), 1), Catch::Contains("the content ends in the values"));
  CHECK_THROWS_AS(decode_idx(idx({4}, Bytes(4)), 1, {.max_file_bytes = 3}), Error);
}

TEST_CASE("idx: every cut of a file is an error") {
  const Bytes plain = idx({2, 2, 1}, {1, 2, 3, 4});
  for (const Bytes& whole : {plain, gzip(plain)}) {
    for (std::size_t length = 0; length < whole.size(); ++length) {
      INFO("cut after " << length << " of " << whole.size());
      CHECK_THROWS_AS(decode_idx(std::span(whole).first(length), 3), Error);
    }
  }
}

TEST_CASE("idx: any one byte of the packed data changed is found or harmless") {
  const Bytes values{1, 2, 3, 4, 200, 6};
  const Bytes whole = gzip(idx({6}, values));
  std::size_t refused = 0;
  for (std::size_t position = 0; position < whole.size(); ++position) {
    for (int change : {0x01, 0x40, 0xFF}) {
      Bytes changed = whole;
      changed[position] = static_cast<std::uint8_t>(changed[position] ^ change);
      Bytes found;
      try {
        found = decode_idx(changed, 1).values;
      } catch (const Error&) {
        ++refused;
        continue;
      }
      CHECK(found == values);  // time stamp and the like in gzip's header
    }
  }
  CHECK(refused > whole.size());
}

TEST_CASE("idx data set: images, labels and names") {
  const test::TemporaryFolder folder;
  write_bytes(folder / "images", idx({3, 1, 2}, {1, 2, 3, 4, 5, 6}));
  write_bytes(folder / "labels.gz", gzip(idx({3}, {7, 0, 9})));
  const IdxDataset dataset(folder / "images", folder / "labels.gz");
  CHECK(dataset.size() == 3);
  CHECK(dataset.label(0) == 7);
  CHECK(dataset.label(2) == 9);
  CHECK(dataset.name(2) == (folder / "images").string() + "[2]");
  CHECK(dataset.class_names().empty());
  std::vector<float> out(2);
  dataset.read(1, bytes_as_they_are(1, 2), out);  // the same size: no resize
  CHECK(out[0] == Approx(3));
  CHECK(out[1] == Approx(4));
  for (Index image : {-1, 3}) {
    CHECK_THROWS_AS(dataset.read(image, bytes_as_they_are(1, 2), out), Error);
    CHECK_THROWS_AS(dataset.label(image), Error);
    CHECK_THROWS_AS(dataset.name(image), Error);
  }
}

TEST_CASE("idx data set: without labels, and with the wrong number of them") {
  const test::TemporaryFolder folder;
  write_bytes(folder / "images", idx({2, 1, 1}, {1, 2}));
  write_bytes(folder / "labels", idx({3}, {0, 1, 2}));
  CHECK(IdxDataset(folder / "images").label(1) == -1);
  CHECK_THROWS_WITH(IdxDataset(folder / "images", folder / "labels"), Catch::Contains("3 labels for the 2 images"));
  CHECK_THROWS_AS(IdxDataset(folder / "labels"), Error);
}

}  // namespace
