// Joint augmentation: masks and boxes go where the pixels go, checked by hand and by painting boxes into images.
#include <moevit/train/dense_augment.hpp>

#include "catch.hpp"

#include <algorithm>
#include <vector>

using namespace moevit;

namespace {

using Catch::Contains;

/// An image of one channel with these numbers.
Image grey(Index height, Index width, const std::vector<int>& values) {
  Image image(height, width, 1);
  std::transform(values.begin(), values.end(), image.row(0),
                 [](int value) { return static_cast<std::uint8_t>(value); });
  return image;
}
std::vector<int> numbers(const Image& image) { return {image.pixels().begin(), image.pixels().end()}; }

const Image letter = grey(2, 3, {1, 2, 3, 4, 5, 6});

}  // namespace

TEST_CASE("masks by hand: larger, smaller, cut, padded, mirrored") {
  CHECK(numbers(place_mask(letter, {2, 3, 2, 3, {0, 0, 2, 3}}, 9)) == numbers(letter));
  CHECK(numbers(place_mask(letter, {2, 3, 2, 3, {0, 0, 2, 3}, true}, 9)) == std::vector<int>{3, 2, 1, 6, 5, 4});
  CHECK(numbers(place_mask(letter, {2, 3, 4, 6, {1, 1, 2, 4}}, 9)) == std::vector<int>{1, 2, 2, 3, 4, 5, 5, 6});
  CHECK(numbers(place_mask(letter, {2, 3, 1, 1, {0, 0, 1, 1}}, 9)) == std::vector<int>{5});
  CHECK(numbers(place_mask(letter, {2, 3, 2, 3, {-1, -1, 3, 5}}, 9)) ==
        std::vector<int>{9, 9, 9, 9, 9, 9, 1, 2, 3, 9, 9, 4, 5, 6, 9});
  CHECK(numbers(place_mask(letter, {2, 3, 2, 3, {1, 1, 3, 2}, true}, 9)) == std::vector<int>{6, 5, 9, 9, 9, 9});
}

TEST_CASE("without augmentation images come as from preprocessing, at any size") {
  for (const auto& [height, width] : {std::pair<Index, Index>{1, 1}, {7, 5}, {9, 30}, {64, 3}})
    for (const Index shorter : {0, 6, 11}) {
      const Preprocessing target{.height = 8, .width = 10, .channels = 1, .shorter_side = shorter};
      Image image(height, width, 1);
      RandomStream pixels(1, height, width), random(1);
      std::generate_n(image.row(0), height * width, [&] { return static_cast<std::uint8_t>(pixels.below(256)); });
      std::vector<float> expected(80), found(80);
      preprocess(image, target, expected);
      const ImagePlacement placement = draw_placement(height, width, target, {}, random);
      crop_and_normalise(place_image(image, placement, target.interpolation), target, found);
      CHECK(found == expected);
    }
}

TEST_CASE("boxes lie around the pixels that were in them") {
  const Preprocessing target{.height = 24, .width = 20, .channels = 1};
  const DenseAugmentation augmentation{
      .min_scale = 0.5, .max_scale = 2, .place = WindowPlace::random, .flip = 0.5, .kept_area = 0};
  Index seen = 0, unseen = 0;
  for (Index trial = 0; trial < 200; ++trial) {
    RandomStream random(7, trial);
    const Index height = 10 + random.below(40), width = 10 + random.below(40);
    const Index y0 = random.below(height - 5), x0 = random.below(width - 5);
    Image mask(height, width, 1);
    for (Index y = y0; y < y0 + 5; ++y) std::fill_n(mask.row(y) + x0, 5, std::uint8_t{1});
    const ImagePlacement placement = draw_placement(height, width, target, augmentation, random);
    const std::vector<TrueBox> objects{{{double(x0), double(y0), 5, 5}, 3, 20, true}};
    std::vector<TrueBox> placed;
    place_objects(objects, placement, 0, placed);
    const Image moved = place_mask(mask, placement, 0);
    (placed.empty() ? unseen : seen) += 1;
    const Box box = placed.empty() ? Box{} : placed[0].box;
    for (Index y = 0; y < moved.height(); ++y)
      for (Index x = 0; x < moved.width(); ++x) {
        const double cx = double(x) + 0.5, cy = double(y) + 0.5;
        const double outside = std::max({box.x - cx, cx - box.right(), box.y - cy, cy - box.bottom()});
        if (std::abs(outside) < 1e-9) continue;  // a centre on the edge
        CHECK((moved.row(y)[x] == 1) == (outside < 0));
      }
    if (placed.empty()) continue;
    CHECK(placed[0].category == 3);
    CHECK(placed[0].is_crowd);
    CHECK(placed[0].area == Approx(20. / 25. * box.area()));
  }
  CHECK(seen > 50);
  CHECK(unseen > 5);
}

TEST_CASE("boxes that keep too little are dropped, and detections find their way back") {
  const std::vector<TrueBox> objects{{{0, 0, 10, 10}, 0, 100}, {{8, 0, 4, 4}, 1, 16}, {{20, 20, 5, 5}, 2, 25}};
  const ImagePlacement placement{30, 30, 30, 30, {0, 9, 30, 30}};
  std::vector<TrueBox> placed;
  place_objects(objects, placement, 0.1, placed);
  REQUIRE(placed.size() == 3);
  CHECK(placed[0] == TrueBox{{0, 0, 1, 10}, 0, 10});
  place_objects(objects, placement, 0.11, placed);
  REQUIRE(placed.size() == 2);
  CHECK(placed[0] == TrueBox{{0, 0, 3, 4}, 1, 12});
  CHECK(placed[1] == TrueBox{{11, 20, 5, 5}, 2, 25});
  place_objects(objects, placement, 1, placed);
  CHECK(placed.size() == 1);
  for (const bool mirrored : {false, true}) {
    const ImagePlacement way{40, 20, 60, 70, {-3, 8, 50, 30}, mirrored};
    const Box there = place_box({3, 5, 4, 9}, way), back = original_box(there, way);
    CHECK(back.x == Approx(3));
    CHECK(back.y == Approx(5));
    CHECK(back.width == Approx(4));
    CHECK(back.height == Approx(9));
  }
}

TEST_CASE("placements stay within what was asked for and come again from the same stream") {
  const Preprocessing target{.height = 16, .width = 16, .channels = 1, .shorter_side = 20};
  const DenseAugmentation augmentation{.min_scale = 0.5, .max_scale = 1.5, .place = WindowPlace::random, .flip = 0.5};
  Index mirrored = 0, padded = 0, cut = 0;
  for (Index trial = 0; trial < 300; ++trial) {
    RandomStream first(3, 1, trial), second(3, 1, trial);
    const ImagePlacement placement = draw_placement(40, 60, target, augmentation, first);
    const ImagePlacement again = draw_placement(40, 60, target, augmentation, second);
    CHECK(again.window.top == placement.window.top);
    CHECK(again.height == placement.height);
    CHECK(again.is_mirrored == placement.is_mirrored);
    CHECK(placement.height >= 10);
    CHECK(placement.height <= 30);
    CHECK(std::abs(placement.width - placement.height * 3 / 2) <= 1);
    // The window lies in the image, or the image in the window.
    const Index top = placement.window.top, spare = placement.height - 16;
    CHECK(std::min<Index>(spare, 0) <= top);
    CHECK(top <= std::max<Index>(spare, 0));
    mirrored += placement.is_mirrored ? 1 : 0, padded += top < 0 ? 1 : 0, cut += top > 0 ? 1 : 0;
  }
  CHECK(mirrored > 100);
  CHECK(mirrored < 200);
  CHECK(padded > 20);
  CHECK(cut > 20);
}

TEST_CASE("augmentation of dense tasks refuses numbers without sense and operations that move pixels") {
  CHECK_NOTHROW(check_augmentation(DenseAugmentation{}));
  CHECK_THROWS_AS(check_augmentation(DenseAugmentation{.min_scale = 2}), Error);
  CHECK_THROWS_AS(check_augmentation(DenseAugmentation{.min_scale = 0}), Error);
  CHECK_THROWS_AS(check_augmentation(DenseAugmentation{.max_scale = 17}), Error);
  CHECK_THROWS_AS(check_augmentation(DenseAugmentation{.flip = -1}), Error);
  CHECK_THROWS_AS(check_augmentation(DenseAugmentation{.operations = -1}), Error);
  CHECK_THROWS_AS(check_augmentation(DenseAugmentation{.kept_area = 2}), Error);
  CHECK_THROWS_AS(check_augmentation(DenseAugmentation{.operations = 1, .list = {}}), Error);
  CHECK_THROWS_WITH(check_augmentation(DenseAugmentation{.list = {ImageOperation::shear_x}}), Contains("moves pixels"));
}
