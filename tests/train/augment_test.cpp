// Augmentation: every operation against what it should give on tiny images, and random choices that can be repeated.
#include <moevit/train/augment.hpp>

#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <vector>

using namespace moevit;

namespace {

using Bytes = std::vector<int>;

Image image_of(Index height, Index width, Index channels, const Bytes& values) {
  Image image(height, width, channels);
  if (image.pixels().size() != values.size()) fail("test: ", values.size(), " values");
  std::transform(values.begin(), values.end(), image.row(0),
                 [](int value) { return static_cast<std::uint8_t>(value); });
  return image;
}

Image grey(Index height, Index width, const Bytes& values) { return image_of(height, width, 1, values); }

Bytes bytes(const Image& image) { return {image.pixels().begin(), image.pixels().end()}; }

Image noise(Index height, Index width, Index channels, std::uint64_t seed) {
  RandomStream random(seed);
  Image image(height, width, channels);
  for (Index i = 0; i < height * width * channels; ++i) image.row(0)[i] = static_cast<std::uint8_t>(random.below(256));
  return image;
}

const Image letter = grey(3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9});

}  // namespace

TEST_CASE("windows, shifts and mirror images") {
  CHECK(bytes(padded_window(letter, {0, 0, 3, 3})) == bytes(letter));
  CHECK(bytes(padded_window(letter, {1, 1, 1, 2})) == Bytes{5, 6});
  CHECK(bytes(padded_window(letter, {-1, 2, 3, 2}, 99)) == Bytes{99, 99, 3, 99, 6, 99});
  CHECK(bytes(padded_window(letter, {5, -9, 1, 2}, 99)) == Bytes{99, 99});
  CHECK(bytes(padded_window(letter, {0, 9, 1, 1}, 98)) == Bytes{98});
  CHECK_THROWS_AS(padded_window(letter, {0, 0, 0, 1}), Error);
  CHECK(bytes(shifted(letter, 1, 0)) == Bytes{0, 0, 0, 1, 2, 3, 4, 5, 6});
  CHECK(bytes(shifted(letter, 0, -2, 9)) == Bytes{3, 9, 9, 6, 9, 9, 9, 9, 9});
  CHECK(bytes(shifted(letter, 3, 0)) == Bytes(9, 0));
  CHECK(bytes(mirrored(letter)) == Bytes{3, 2, 1, 6, 5, 4, 9, 8, 7});
  CHECK(bytes(mirrored(image_of(1, 2, 3, {1, 2, 3, 4, 5, 6}))) == Bytes{4, 5, 6, 1, 2, 3});
  const Image colour = noise(5, 4, 3, 1);
  CHECK(bytes(mirrored(mirrored(colour))) == bytes(colour));
}

TEST_CASE("rotations and shears by hand") {
  CHECK(bytes(rotated(letter, 0)) == bytes(letter));
  CHECK(bytes(rotated(letter, 90)) == Bytes{3, 6, 9, 2, 5, 8, 1, 4, 7});
  CHECK(bytes(rotated(letter, -90)) == Bytes{7, 4, 1, 8, 5, 2, 9, 6, 3});
  CHECK(bytes(rotated(letter, 180)) == Bytes{9, 8, 7, 6, 5, 4, 3, 2, 1});
  CHECK(bytes(rotated(grey(2, 2, {1, 2, 3, 4}), 90)) == Bytes{2, 4, 1, 3});
  // 45 degrees: the top of 3 x 3 pixels turns into the corner; the corners of 4 x 4 come from outside.
  const Bytes turned = bytes(rotated(letter, 45, 77));
  CHECK(turned[0] == 2);
  CHECK(turned[4] == 5);
  CHECK(bytes(rotated(noise(4, 4, 1, 1), 45, 77))[0] == 77);
  // x' = x + 1 * y: row y is read y + 1/2 pixels further right, y from 1/2 up; its centre rounds down.
  CHECK(bytes(transformed(letter, {.xy = 1})) == Bytes{2, 3, 0, 6, 0, 0, 0, 0, 0});
  CHECK(bytes(transformed(letter, {.yx = 1})) == Bytes{4, 8, 0, 7, 0, 0, 0, 0, 0});
  CHECK(bytes(transformed(letter, {.x0 = 1})) == bytes(shifted(letter, 0, -1)));
  CHECK(bytes(transformed(letter, {.y0 = -1})) == bytes(shifted(letter, 1, 0)));
}

TEST_CASE("auto contrast and equalise by hand") {
  CHECK(bytes(auto_contrast(grey(1, 3, {50, 60, 100}))) == Bytes{0, 51, 255});
  CHECK(bytes(auto_contrast(grey(1, 3, {7, 7, 7}))) == Bytes{7, 7, 7});
  CHECK(bytes(auto_contrast(grey(1, 3, {0, 9, 255}))) == Bytes{0, 9, 255});
  CHECK(bytes(auto_contrast(image_of(1, 2, 3, {10, 5, 0, 20, 5, 255}))) == Bytes{0, 5, 0, 255, 5, 255});
  // Too few pixels for steps of at least one, or one value.
  CHECK(bytes(equalise(letter)) == bytes(letter));
  CHECK(bytes(equalise(grey(1, 2, {9, 9}))) == Bytes{9, 9});
  // 510 of value 10, 255 of value 20, 100 of value 30: the step is 765 / 255 = 3; 1 / 3, 511 / 3, 766 / 3.
  Bytes values(510, 10);
  values.insert(values.end(), 255, 20);
  values.insert(values.end(), 100, 30);
  const Bytes even = bytes(equalise(grey(5, 173, values)));
  CHECK(std::set<int>(even.begin(), even.end()) == std::set<int>{0, 170, 255});
  CHECK(even[0] == 0);
  CHECK(even[510] == 170);
}

TEST_CASE("solarise and posterise by hand") {
  CHECK(bytes(solarise(grey(1, 4, {0, 127, 128, 255}), 128)) == Bytes{0, 127, 127, 0});
  CHECK(bytes(solarise(grey(1, 3, {0, 127, 255}), 256)) == Bytes{0, 127, 255});
  CHECK(bytes(solarise(grey(1, 3, {0, 127, 255}), 0)) == Bytes{255, 128, 0});
  CHECK(bytes(posterise(grey(1, 3, {255, 100, 15}), 4)) == Bytes{240, 96, 0});
  CHECK(bytes(posterise(grey(1, 2, {255, 100}), 8)) == Bytes{255, 100});
  CHECK(bytes(posterise(grey(1, 2, {255, 100}), 0)) == Bytes{0, 0});
  CHECK_THROWS_AS(posterise(letter, 9), Error);
}

TEST_CASE("colour, contrast, brightness and sharpness by hand") {
  const Image two = grey(1, 2, {100, 201});
  CHECK(bytes(with_brightness(two, 0.5)) == Bytes{50, 100});
  CHECK(bytes(with_brightness(two, 2)) == Bytes{200, 255});
  CHECK(bytes(with_brightness(two, 0)) == Bytes{0, 0});
  // The mean of 100 and 201 is 151 (150.5 rounded up).
  CHECK(bytes(with_contrast(two, 0)) == Bytes{151, 151});
  CHECK(bytes(with_contrast(two, 2)) == Bytes{49, 251});
  CHECK(bytes(with_contrast(grey(1, 2, {0, 200}), 3)) == Bytes{0, 255});
  CHECK(bytes(with_colour(two, 0)) == Bytes{100, 201});
  const Image red = image_of(1, 1, 3, {255, 0, 0});
  CHECK(bytes(with_colour(red, 0)) == Bytes{76, 76, 76});
  CHECK(bytes(with_colour(red, 2)) == Bytes{255, 0, 0});
  CHECK(bytes(with_contrast(red, 0)) == Bytes{76, 76, 76});
  // One bright pixel: 5 / 13 of 130 stay in the middle, 1 / 13 of it would go to the neighbours, which are the border.
  const Image dot = grey(3, 3, {0, 0, 0, 0, 130, 0, 0, 0, 0});
  CHECK(bytes(with_sharpness(dot, 0)) == Bytes{0, 0, 0, 0, 50, 0, 0, 0, 0});
  CHECK(bytes(with_sharpness(dot, 1)) == bytes(dot));
  CHECK(bytes(with_sharpness(dot, 2)) == Bytes{0, 0, 0, 0, 210, 0, 0, 0, 0});
}

TEST_CASE("operations keep the size, change nothing at magnitude 0 and stay within their range at 10") {
  const std::vector<std::array<Index, 3>> sizes{{1, 1, 3}, {1, 1, 1}, {5, 7, 3}, {1, 6, 1}, {9, 2, 3}};
  for (const auto& [height, width, channels] : sizes)
    for (const ImageOperation operation : all_image_operations)
      for (const double magnitude : {0., 4.5, 10.})
        for (const int sign : {-1, 1}) {
          INFO(int(operation) << ", magnitude " << sign * magnitude << ", " << height << " x " << width);
          const Image image = noise(height, width, channels, 3);
          const Image result = apply_operation(image, operation, operation_strength(operation, magnitude, sign));
          CHECK(result.height() == height);
          CHECK(result.width() == width);
          CHECK(result.channels() == channels);
          const bool has_strength = operation != ImageOperation::auto_contrast && operation != ImageOperation::equalise;
          if (magnitude == 0 && has_strength) CHECK(bytes(result) == bytes(image));
        }
  CHECK(operation_strength(ImageOperation::rotate, 10, -1) == -30);
  CHECK(operation_strength(ImageOperation::solarise, 10, -1) == 0);
  CHECK(operation_strength(ImageOperation::posterise, 10, 1) == 4);
  CHECK(operation_strength(ImageOperation::colour, 10, -1) == Approx(0.1));
  CHECK(bytes(apply_operation(letter, ImageOperation::identity, 5)) == bytes(letter));
  CHECK(bytes(apply_operation(letter, ImageOperation::translate_x, 0.34)) == bytes(shifted(letter, 0, 1)));
  CHECK(bytes(apply_operation(letter, ImageOperation::translate_y, -0.34)) == bytes(shifted(letter, -1, 0)));
}

TEST_CASE("random crops are windows of the padded image, and all of them come") {
  const Augmentation augmentation{.crop_padding = 1, .fill = 50};
  std::set<Bytes> possible, found;
  for (const Index top : {-1, 0, 1})
    for (const Index left : {-1, 0, 1}) possible.insert(bytes(padded_window(letter, {top, left, 3, 3}, 50)));
  for (Index sample = 0; sample < 200; ++sample) {
    RandomStream random(1, 0, sample);
    found.insert(bytes(augment(letter, augmentation, random)));
  }
  CHECK(found == possible);
}

TEST_CASE("flips come as often as asked for") {
  int flipped = 0;
  for (Index sample = 0; sample < 1000; ++sample) {
    RandomStream random(2, 0, sample);
    const Bytes result = bytes(augment(letter, {.flip = 0.25}, random));
    CHECK((result == bytes(letter) || result == bytes(mirrored(letter))));
    flipped += result != bytes(letter);
  }
  CHECK(std::abs(flipped - 250) < 50);
  RandomStream random(1);
  CHECK(bytes(augment(letter, {.flip = 1}, random)) == bytes(mirrored(letter)));
}

TEST_CASE("shifts reach every place up to their limit") {
  std::set<Bytes> possible, found;
  for (Index down = -2; down <= 2; ++down)
    for (Index right = -2; right <= 2; ++right) possible.insert(bytes(shifted(letter, down, right)));
  for (Index sample = 0; sample < 500; ++sample) {
    RandomStream random(4, 0, sample);
    found.insert(bytes(augment(letter, {.shift = 2}, random)));
  }
  CHECK(found == possible);
}

TEST_CASE("augmentation is decided by the stream, and nothing by default") {
  const Image image = noise(8, 8, 3, 5);
  const Augmentation all{.crop_padding = 2, .flip = 0.5, .shift = 1, .operations = 3, .magnitude = 7};
  std::set<Bytes> results;
  for (Index epoch = 0; epoch < 20; ++epoch) {
    RandomStream random(1, epoch, 6), again(1, epoch, 6);
    const Bytes result = bytes(augment(image, all, random));
    CHECK(result == bytes(augment(image, all, again)));
    results.insert(result);
  }
  CHECK(results.size() > 15);
  RandomStream random(1);
  CHECK(bytes(augment(image, {}, random)) == bytes(image));
  CHECK(bytes(augment(image, {.operations = 5, .list = {ImageOperation::identity}}, random)) == bytes(image));
}

TEST_CASE("augmentations that make no sense are errors") {
  CHECK_NOTHROW(check_augmentation({}));
  CHECK_THROWS_AS(check_augmentation({.crop_padding = -1}), Error);
  CHECK_THROWS_AS(check_augmentation({.flip = 1.5}), Error);
  CHECK_THROWS_AS(check_augmentation({.shift = -3}), Error);
  CHECK_THROWS_AS(check_augmentation({.operations = -1}), Error);
  CHECK_THROWS_AS(check_augmentation({.magnitude = 11}), Error);
  CHECK_THROWS_AS(check_augmentation({.operations = 1, .list = {}}), Error);
}
