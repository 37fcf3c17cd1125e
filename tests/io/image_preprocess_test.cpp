#include "catch.hpp"

#include <moevit/io/preprocess.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace moevit;

/// Pixels 0, 1, 2, ... in reading order.
Image counting_image(Index height, Index width) {
  Image image(height, width, 1);
  for (std::size_t i = 0; i < image.pixels().size(); ++i) image.row(0)[i] = static_cast<std::uint8_t>(i);
  return image;
}

/// No normalisation but the division by 255, one channel.
Preprocessing plain(Index height, Index width, Index shorter_side = 0) {
  Preprocessing target;
  target.height = height;
  target.width = width;
  target.channels = 1;
  target.shorter_side = shorter_side;
  target.mean = {0};
  target.deviation = {1};
  return target;
}

std::vector<int> preprocessed_bytes(ImageView image, const Preprocessing& target) {
  std::vector<float> out(static_cast<std::size_t>(float_count(target)));
  preprocess(image, target, out);
  std::vector<int> bytes;
  for (float value : out) bytes.push_back(static_cast<int>(std::lround(value * 255)));
  return bytes;
}

TEST_CASE("preprocess: the same size needs neither resize nor crop") {
  CHECK(preprocessed_bytes(counting_image(2, 3), plain(2, 3)) == std::vector<int>{0, 1, 2, 3, 4, 5});
  CHECK(preprocessed_bytes(counting_image(1, 1), plain(1, 1)) == std::vector<int>{0});
}

TEST_CASE("preprocess: the crop's offset rounds half to even") {
  // One row: 4 - 1 = 3 spare, 1.5 -> 2; 6 - 1 = 5 spare, 2.5 -> 2; 2 - 1 = 1 spare, 0.5 -> 0; 8 - 1 = 7 spare, 3.5
  // -> 4.
  CHECK(detail::crop_axis(4, 1).first == 2);
  CHECK(detail::crop_axis(6, 1).first == 2);
  CHECK(detail::crop_axis(2, 1).first == 0);
  CHECK(detail::crop_axis(8, 1).first == 4);
  CHECK(detail::crop_axis(9, 1).first == 4);
  // Shorter side 2 is there already, so only the crop acts: columns 2 of 0..3 in a 1 x 4 strip doubled.
  CHECK(preprocessed_bytes(counting_image(2, 5), plain(2, 2, 2)) == std::vector<int>{2, 3, 7, 8});  // 1.5 -> 2
  CHECK(preprocessed_bytes(counting_image(5, 2), plain(2, 2, 2)) == std::vector<int>{4, 5, 6, 7});
}

TEST_CASE("preprocess: smaller images get zeros, the odd one at the right and below") {
  CHECK(preprocessed_bytes(counting_image(2, 2), plain(3, 4, 2)) == std::vector<int>{0, 0, 1, 0,  //
                                                                                     0, 2, 3, 0,  //
                                                                                     0, 0, 0, 0});
  // Padded along one axis, cropped along the other: 1.5 -> 2.
  CHECK(preprocessed_bytes(counting_image(2, 5), plain(4, 2, 2)) == std::vector<int>{0, 0, 2, 3, 7, 8, 0, 0});
}

TEST_CASE("preprocess: padding is 0 before it is normalised") {
  Preprocessing target = plain(2, 1, 1);
  target.mean = {0.5f};
  target.deviation = {0.25f};
  std::vector<float> out(2);
  preprocess(counting_image(1, 1), target, out);
  CHECK(out == std::vector<float>{-2.0f, -2.0f});
}

TEST_CASE("preprocess: the longer side is rounded down") {
  // 3 x 7 to shorter side 2: 7 * 2 / 3 = 4.67 -> 4 columns; with 5 the padding of the crop would be gone.
  Image white(3, 7, 1);
  std::fill_n(white.row(0), white.pixels().size(), std::uint8_t{255});
  CHECK(preprocessed_bytes(white, plain(2, 6, 2)) ==
        std::vector<int>{0, 255, 255, 255, 255, 0, 0, 255, 255, 255, 255, 0});
  CHECK(preprocessed_bytes(counting_image(1, 40), plain(8, 8, 8)).size() == 64);
}

TEST_CASE("preprocess: each channel has its mean and deviation") {
  Image image(1, 1, 3);
  image.row(0)[0] = 51;   // 0.2
  image.row(0)[1] = 102;  // 0.4
  image.row(0)[2] = 255;
  Preprocessing target = plain(1, 1);
  target.channels = 3;
  target.mean = {0.2f, 0.5f, 0.0f};
  target.deviation = {1.0f, 0.1f, 2.0f};
  std::vector<float> out(3);
  preprocess(image, target, out);
  CHECK(out[0] == Approx(0.0f).margin(1e-7));
  CHECK(out[1] == Approx(-1.0f));
  CHECK(out[2] == Approx(0.5f));
}

TEST_CASE("preprocess: grey fills all channels, colour becomes grey") {
  Preprocessing target = plain(1, 2);
  target.channels = 3;
  CHECK(preprocessed_bytes(counting_image(1, 2), target) == std::vector<int>{0, 0, 0, 1, 1, 1});
  // 255 * 0.299 = 76.2, 255 * 0.587 = 149.7, 255 * 0.114 = 29.1
  Image colours(1, 3, 3);
  colours.row(0)[0] = colours.row(0)[4] = colours.row(0)[8] = 255;
  CHECK(preprocessed_bytes(colours, plain(1, 3)) == std::vector<int>{76, 150, 29});
}

TEST_CASE("preprocess: works from a caller's buffer with a stride") {
  const std::vector<std::uint8_t> buffer{1, 2, 99, 3, 4, 99, 5, 6};  // 3 x 2, the last row without its gap
  const ImageView image(buffer, 3, 2, 1, 3);
  CHECK(preprocessed_bytes(image, plain(3, 2)) == std::vector<int>{1, 2, 3, 4, 5, 6});
}

TEST_CASE("preprocess: writes only its own floats") {
  std::vector<float> out(6, -7.0f);
  preprocess(counting_image(2, 2), plain(2, 2), out);
  CHECK(out[4] == -7.0f);
  CHECK(out[5] == -7.0f);
}

TEST_CASE("preprocess: a span that is too short is an error that says both sizes") {
  std::vector<float> out(3);
  try {
    preprocess(counting_image(2, 2), plain(2, 2), out);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(std::string(error.what()) == "preprocess: expected room for 2 x 2 x 1 = 4 floats, found 3");
  }
}

TEST_CASE("preprocess: settings without sense are errors") {
  const Image image = counting_image(2, 2);
  std::vector<float> out(64);
  const auto refuses = [&](auto change) {
    Preprocessing target = plain(2, 2);
    change(target);
    CHECK_THROWS_AS(preprocess(image, target, out), Error);
  };
  refuses([](Preprocessing& target) { target.height = 0; });
  refuses([](Preprocessing& target) { target.width = -3; });
  refuses([](Preprocessing& target) { target.width = Index{1} << 40; });
  refuses([](Preprocessing& target) { target.shorter_side = -1; });
  refuses([](Preprocessing& target) { target.channels = 2; });
  refuses([](Preprocessing& target) { target.mean = {}; });
  refuses([](Preprocessing& target) { target.mean = {0, 0}; });
  refuses([](Preprocessing& target) { target.deviation = {0}; });
  refuses([](Preprocessing& target) { target.deviation = {1, 1, 1}; });
  refuses([](Preprocessing& target) { target.mean = {std::numeric_limits<float>::quiet_NaN()}; });
}

TEST_CASE("image view: sizes that do not fit the buffer are errors") {
  const std::vector<std::uint8_t> buffer(12);
  CHECK_NOTHROW(ImageView(buffer, 2, 2, 3));
  CHECK_NOTHROW(ImageView(buffer, 2, 1, 3, 9));
  CHECK_THROWS_AS(ImageView(buffer, 2, 1, 3, 10), Error);
  CHECK_THROWS_AS(ImageView(buffer, 2, 2, 3, 5), Error);
  CHECK_THROWS_AS(ImageView(buffer, 3, 2, 3), Error);
  CHECK_THROWS_AS(ImageView(buffer, 2, 2, 2), Error);
  CHECK_THROWS_AS(ImageView(buffer, 0, 2, 1), Error);
  CHECK_THROWS_AS(ImageView(buffer, 2, 0, 1), Error);
  CHECK_THROWS_AS(ImageView(buffer, Index{1} << 40, Index{1} << 40, 1), Error);
  CHECK_THROWS_AS(ImageView(buffer, 3, 1, 1, std::numeric_limits<Index>::max()), Error);
}

TEST_CASE("image limits: width, height and the product") {
  const ImageLimits limits{.max_width = 10, .max_height = 20, .max_pixels = 100};
  CHECK_NOTHROW(check_image_size(10, 10, limits, "x"));
  CHECK_THROWS_AS(check_image_size(11, 10, limits, "x"), Error);
  CHECK_THROWS_AS(check_image_size(1, 11, limits, "x"), Error);
  CHECK_THROWS_AS(check_image_size(21, 1, limits, "x"), Error);
  CHECK_THROWS_AS(check_image_size(0, 1, limits, "x"), Error);
  CHECK_THROWS_WITH(check_image_size(20, 8, limits, "big.png"),
                    "big.png: 8 x 20 pixels, the limit is 100 pixels in all");
}

}  // namespace
