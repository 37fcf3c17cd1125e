#include "catch.hpp"

#include <moevit/io/resize.hpp>

#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

namespace {

using namespace moevit;
using Bytes = std::vector<std::uint8_t>;

Image image_of(Index height, Index width, Index channels, const Bytes& values) {
  Image image(height, width, channels);
  std::copy(values.begin(), values.end(), image.row(0));
  return image;
}

Image random_image(Index height, Index width, Index channels, unsigned seed) {
  std::mt19937 random(seed);
  Image image(height, width, channels);
  for (std::size_t i = 0; i < image.pixels().size(); ++i) image.row(0)[i] = static_cast<std::uint8_t>(random() % 256);
  return image;
}

Bytes bytes(const Image& image) { return {image.pixels().begin(), image.pixels().end()}; }

// Values of Pillow 13.0.0; the first of the bilinear row by hand: the centre of output 0 is 1, the triangle reaches 2,
// so the pixels at distance 0.5, 0.5, 1.5 weigh 0.75, 0.75, 0.25: (0 * 0.75 + 100 * 0.75 + 200 * 0.25) / 1.75 = 71.4.
TEST_CASE("resize: rows of one pixel's height, as Pillow") {
  const Image row = image_of(1, 4, 1, {0, 100, 200, 50});
  CHECK(bytes(resize(row, 1, 2, Interpolation::bilinear)) == Bytes{71, 121});
  CHECK(bytes(resize(row, 1, 2, Interpolation::bicubic)) == Bytes{68, 127});
  CHECK(bytes(resize(row, 1, 7, Interpolation::bilinear)) == Bytes{0, 36, 93, 150, 189, 104, 50});
  CHECK(bytes(resize(row, 1, 7, Interpolation::bicubic)) == Bytes{0, 26, 92, 166, 196, 99, 38});
  const Image step = image_of(1, 2, 1, {0, 255});
  CHECK(bytes(resize(step, 1, 4, Interpolation::bilinear)) == Bytes{0, 64, 191, 255});
  CHECK(bytes(resize(step, 1, 4, Interpolation::bicubic)) == Bytes{0, 53, 202, 255});  // overshoot is clipped
}

TEST_CASE("resize: columns of one pixel's width, as Pillow") {
  const Image column = image_of(3, 1, 1, {0, 255, 0});
  CHECK(bytes(resize(column, 2, 1, Interpolation::bilinear)) == Bytes{96, 96});
  CHECK(bytes(resize(column, 2, 1, Interpolation::bicubic)) == Bytes{99, 99});
}

TEST_CASE("resize: colour, one axis grows and the other shrinks, as Pillow") {
  const Image image = image_of(2, 3, 3, {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30, 200, 100, 50, 255, 255, 255});
  CHECK(bytes(resize(image, 3, 2, Interpolation::bicubic)) ==
        Bytes{172, 103, 0, 0, 92, 165, 120, 71, 15, 122, 152, 175, 68, 38, 31, 255, 211, 185});
}

TEST_CASE("resize: the vertical pass comes first where it takes away much more") {
  const Image image = image_of(4, 3, 1, {5, 157, 159, 60, 54, 236, 109, 46, 199, 82, 32, 205});
  CHECK(bytes(resize(image, 1, 2, Interpolation::bicubic)) == Bytes{62, 156});  // 63, 156 in the other order
  const Image narrow = resize(image, 4, 2, Interpolation::bicubic);
  CHECK(bytes(resize(narrow, 1, 2, Interpolation::bicubic)) == Bytes{63, 156});
}

TEST_CASE("resize: the same size changes nothing, an axis of the same size has no pass") {
  const Image image = random_image(5, 6, 3, 1);
  CHECK(bytes(resize(image, 5, 6, Interpolation::bicubic)) == bytes(image));
  // Equal rows stay equal under the horizontal pass alone, and under the vertical pass alone nothing mixes columns.
  const Image two = image_of(2, 3, 1, {1, 2, 3, 1, 2, 3});
  const Image tall = resize(two, 4, 3, Interpolation::bicubic);
  for (Index y = 0; y < 4; ++y) CHECK(Bytes(tall.row(y), tall.row(y) + 3) == Bytes{1, 2, 3});
}

TEST_CASE("resize: a constant image stays constant") {
  for (std::uint8_t value : Bytes{0, 1, 127, 254, 255}) {
    Image image(7, 5, 3);
    std::fill_n(image.row(0), image.pixels().size(), value);
    for (auto interpolation : {Interpolation::bilinear, Interpolation::bicubic}) {
      for (auto [height, width] : {std::pair<Index, Index>{1, 1}, {3, 11}, {20, 2}, {7, 5}, {64, 64}}) {
        const Image resized = resize(image, height, width, interpolation);
        CHECK(bytes(resized) == Bytes(static_cast<std::size_t>(height * width * 3), value));
      }
    }
  }
}

TEST_CASE("resize: a window is that part of the whole") {
  std::mt19937 random(2);
  const auto up_to = [&](Index limit) { return 1 + static_cast<Index>(random() % static_cast<unsigned>(limit)); };
  for (unsigned trial = 0; trial < 200; ++trial) {
    const Image image = random_image(up_to(20), up_to(20), trial % 2 == 0 ? 1 : 3, trial);
    const auto interpolation = trial % 3 == 0 ? Interpolation::bilinear : Interpolation::bicubic;
    const Index height = up_to(30), width = up_to(30);
    const Index window_height = up_to(height), window_width = up_to(width);
    const ImageWindow window{up_to(height - window_height + 1) - 1, up_to(width - window_width + 1) - 1, window_height,
                             window_width};
    const Image whole = resize(image, height, width, interpolation);
    const Image part = resize_window(image, height, width, window, interpolation);
    INFO("trial " << trial);
    CHECK(bytes(part) == bytes(detail::copy_window(whole, window)));
  }
}

TEST_CASE("resize: rows of a wider buffer") {
  const Image image = random_image(6, 9, 3, 3);
  const Image cut = detail::copy_window(image, {1, 2, 4, 5});
  const ImageView inside(image.pixels().subspan((1 * 9 + 2) * 3), 4, 5, 3, 9 * 3);
  CHECK(bytes(resize(inside, 7, 3, Interpolation::bicubic)) == bytes(resize(cut, 7, 3, Interpolation::bicubic)));
}

TEST_CASE("resize: a strip may become very tall, its window takes little") {
  const Image strip = random_image(60000, 1, 3, 4);
  const Index height = Index{60000} * 224;  // the whole would take 9 GB
  const Image part = resize_window(strip, height, 224, {height / 2, 0, 224, 224}, Interpolation::bicubic);
  CHECK(part.height() == 224);
}

TEST_CASE("resize: bad sizes and windows are errors") {
  const Image image(4, 4, 1);
  CHECK_THROWS_AS(resize(image, 0, 4, Interpolation::bilinear), Error);
  CHECK_THROWS_AS(resize(image, 4, -1, Interpolation::bilinear), Error);
  CHECK_THROWS_AS(resize_window(image, 8, 8, {0, 0, 9, 8}, Interpolation::bilinear), Error);
  CHECK_THROWS_AS(resize_window(image, 8, 8, {1, 0, 8, 8}, Interpolation::bilinear), Error);
  CHECK_THROWS_AS(resize_window(image, 8, 8, {-1, 0, 4, 4}, Interpolation::bilinear), Error);
  CHECK_THROWS_AS(resize_window(image, 8, 8, {0, 0, 0, 4}, Interpolation::bilinear), Error);
}

}  // namespace
