#include "catch.hpp"
#include "io/image_encoders.hpp"

#include <moevit/io/exif.hpp>

#include <cstdint>
#include <vector>

namespace {

using namespace moevit;
using test::Bytes;
using test::exif_payload;

TEST_CASE("exif: orientation in both byte orders") {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CHECK(exif_orientation(exif_payload(orientation, false)) == orientation);
    CHECK(exif_orientation(exif_payload(orientation, true)) == orientation);
  }
}

TEST_CASE("exif: values outside 1..8 and payloads without the tag mean upright") {
  CHECK(exif_orientation(exif_payload(0, false)) == 1);
  CHECK(exif_orientation(exif_payload(9, true)) == 1);
  CHECK(exif_orientation({}) == 1);
  CHECK(exif_orientation(Bytes{'h', 't', 't', 'p', ':', '/', '/'}) == 1);
  Bytes other_tag = exif_payload(6, false);
  other_tag[16] = 0x13;
  CHECK(exif_orientation(other_tag) == 1);
  Bytes other_type = exif_payload(6, false);
  other_type[18] = 4;
  CHECK(exif_orientation(other_type) == 1);
}

TEST_CASE("exif: cut and changed payloads stay inside their bytes") {
  for (bool big_endian : {false, true}) {
    const Bytes whole = exif_payload(6, big_endian);
    constexpr std::size_t end_of_value = 6 + 8 + 2 + 10;
    for (std::size_t length = 0; length <= whole.size(); ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      CHECK(exif_orientation(cut) == (length >= end_of_value ? 6 : 1));
    }
    for (std::size_t position = 0; position < whole.size(); ++position) {
      for (int value = 0; value < 256; ++value) {
        Bytes changed = whole;
        changed[position] = static_cast<std::uint8_t>(value);
        const int orientation = exif_orientation(changed);
        CHECK((orientation >= 1 && orientation <= 8));
      }
    }
  }
}

// The stored image is what a camera held in eight ways wrote of
//     1 2 3
//     4 5 6
TEST_CASE("exif: all eight orientations come out upright") {
  struct Stored {
    int orientation;
    Index height, width;
    Bytes pixels;
  };
  const Stored all[] = {
      {1, 2, 3, {1, 2, 3, 4, 5, 6}}, {2, 2, 3, {3, 2, 1, 6, 5, 4}}, {3, 2, 3, {6, 5, 4, 3, 2, 1}},
      {4, 2, 3, {4, 5, 6, 1, 2, 3}}, {5, 3, 2, {1, 4, 2, 5, 3, 6}}, {6, 3, 2, {3, 6, 2, 5, 1, 4}},
      {7, 3, 2, {6, 3, 5, 2, 4, 1}}, {8, 3, 2, {4, 1, 5, 2, 6, 3}},
  };
  for (const Stored& stored : all) {
    Image image(stored.height, stored.width, 1);
    std::copy(stored.pixels.begin(), stored.pixels.end(), image.row(0));
    const Image result = upright(image, stored.orientation);
    INFO("orientation " << stored.orientation);
    CHECK(result.height() == 2);
    CHECK(result.width() == 3);
    CHECK(Bytes(result.pixels().begin(), result.pixels().end()) == Bytes{1, 2, 3, 4, 5, 6});
  }
}

TEST_CASE("exif: colours stay together when an image is turned") {
  Image image(1, 2, 3);
  for (std::uint8_t i = 0; i < 6; ++i) image.row(0)[i] = i;
  const Image turned = upright(image, 6);
  CHECK(turned.height() == 2);
  CHECK(Bytes(turned.pixels().begin(), turned.pixels().end()) == Bytes{0, 1, 2, 3, 4, 5});
  const Image mirrored = upright(image, 2);
  CHECK(Bytes(mirrored.pixels().begin(), mirrored.pixels().end()) == Bytes{3, 4, 5, 0, 1, 2});
}

}  // namespace
