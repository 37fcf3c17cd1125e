#include "catch.hpp"
#include "io/image_encoders.hpp"

#include <moevit/io/jpeg.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

using namespace moevit;
using test::Bytes;
using test::encode_jpeg;
using test::JpegRecipe;

/// A smooth ramp in each channel, which survives compression at quality 100.
JpegRecipe ramp(int height, int width, int channels, J_COLOR_SPACE space) {
  JpegRecipe recipe{.height = height, .width = width, .channels = channels, .color_space = space};
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int channel = 0; channel < channels; ++channel) {
        recipe.pixels.push_back(static_cast<std::uint8_t>(60 + 5 * y + 3 * x + 20 * channel));
      }
    }
  }
  return recipe;
}

int largest_difference(const Image& image, const Bytes& want) {
  REQUIRE(image.pixels().size() == want.size());
  int largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) largest = std::max(largest, std::abs(int{image.pixels()[i]} - want[i]));
  return largest;
}

TEST_CASE("jpeg: colour and grey, baseline and progressive, odd sizes") {
  for (auto [height, width] : {std::pair{1, 1}, {1, 17}, {9, 1}, {8, 8}, {13, 19}}) {
    for (bool progressive : {false, true}) {
      JpegRecipe colour = ramp(height, width, 3, JCS_RGB);
      colour.progressive = progressive;
      const Image image = decode_jpeg(encode_jpeg(colour));
      CHECK(image.height() == height);
      CHECK(image.width() == width);
      CHECK(image.channels() == 3);
      CHECK(largest_difference(image, colour.pixels) <= 3);
      JpegRecipe grey = ramp(height, width, 1, JCS_GRAYSCALE);
      grey.progressive = progressive;
      const Image grey_image = decode_jpeg(encode_jpeg(grey));
      CHECK(grey_image.channels() == 1);
      CHECK(largest_difference(grey_image, grey.pixels) <= 2);
    }
  }
}

TEST_CASE("jpeg: colour stored without conversion") {
  JpegRecipe recipe = ramp(5, 6, 3, JCS_RGB);
  recipe.stored_space = JCS_RGB;
  CHECK(largest_difference(decode_jpeg(encode_jpeg(recipe)), recipe.pixels) <= 2);
}

TEST_CASE("jpeg: subsampled colour is upsampled smoothly") {
  // Blue falls and red grows from column to column: colours repeated in pairs would be off by half a step, 8 levels.
  JpegRecipe recipe{.height = 16, .width = 16, .channels = 3, .sampling = 2};
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      for (int value : {16 * x, 128, 255 - 16 * x}) recipe.pixels.push_back(static_cast<std::uint8_t>(value));
    }
  }
  const Image image = decode_jpeg(encode_jpeg(recipe));
  int largest = 0;
  for (int x = 2; x < 14; ++x) largest = std::max(largest, std::abs(int{image.row(8)[x * 3]} - 16 * x));
  CHECK(largest <= 4);
}

TEST_CASE("jpeg: inverted CMYK and YCCK become RGB") {
  // Inks as Adobe stores them, 255 - ink. Without black: RGB is the stored value. Half black: half of it.
  struct Colour {
    Bytes stored, rgb;
  };
  const Colour colours[] = {{{200, 100, 50, 255}, {200, 100, 50}},
                            {{255, 255, 255, 0}, {0, 0, 0}},
                            {{255, 0, 255, 255}, {255, 0, 255}},
                            {{200, 100, 50, 128}, {100, 50, 25}}};
  for (J_COLOR_SPACE stored_space : {JCS_CMYK, JCS_YCCK}) {
    for (const Colour& colour : colours) {
      JpegRecipe recipe{.height = 8, .width = 8, .channels = 4, .color_space = JCS_CMYK, .stored_space = stored_space};
      for (int i = 0; i < 64; ++i)
        recipe.pixels.insert(recipe.pixels.end(), colour.stored.begin(), colour.stored.end());
      Bytes want;
      for (int i = 0; i < 64; ++i) want.insert(want.end(), colour.rgb.begin(), colour.rgb.end());
      const Image image = decode_jpeg(encode_jpeg(recipe));
      CHECK(image.channels() == 3);
      CHECK(largest_difference(image, want) <= 3);
    }
  }
}

TEST_CASE("jpeg: the Exif orientation is applied") {
  for (int orientation = 1; orientation <= 8; ++orientation) {
    JpegRecipe recipe = ramp(3, 5, 1, JCS_GRAYSCALE);
    const Image stored = decode_jpeg(encode_jpeg(recipe));
    recipe.app1 = test::exif_payload(orientation, orientation % 2 == 0);
    const Image image = decode_jpeg(encode_jpeg(recipe));
    const Image want = upright(stored, orientation);
    INFO("orientation " << orientation);
    CHECK(image.height() == (orientation >= 5 ? 5 : 3));
    CHECK(largest_difference(image, Bytes(want.pixels().begin(), want.pixels().end())) == 0);
  }
}

TEST_CASE("jpeg: limits are checked before pixels are decoded") {
  const Bytes file = encode_jpeg(ramp(10, 20, 3, JCS_RGB));
  CHECK_THROWS_WITH(decode_jpeg(file, {.max_width = 19}, "wide.jpg"),
                    Catch::Contains("wide.jpg: 20 x 10 pixels, the limit is 19"));
  CHECK_THROWS_AS(decode_jpeg(file, {.max_height = 9}), Error);
  CHECK_THROWS_AS(decode_jpeg(file, {.max_pixels = 199}), Error);
  CHECK_NOTHROW(decode_jpeg(file, {.max_width = 20, .max_height = 10, .max_pixels = 200}));
}

TEST_CASE("jpeg: the decoder's own memory is limited") {
  JpegRecipe recipe = ramp(800, 800, 3, JCS_RGB);
  recipe.progressive = true;  // keeps all coefficients: 2 bytes for each of 800 x 800 x 3
  const Bytes file = encode_jpeg(recipe);
  CHECK_NOTHROW(decode_jpeg(file));
  CHECK_THROWS_AS(decode_jpeg(file, {.max_decoder_bytes = 1 << 20}), Error);
}

TEST_CASE("jpeg: a header that claims more than the file holds is an error") {
  Bytes file = encode_jpeg(ramp(8, 8, 1, JCS_GRAYSCALE));
  const Bytes marker{0xFF, 0xC0};
  const auto frame = std::search(file.begin(), file.end(), marker.begin(), marker.end());
  REQUIRE(frame != file.end());
  frame[5] = 0x10;  // height 0x1008
  CHECK_THROWS_AS(decode_jpeg(file), Error);
}

TEST_CASE("jpeg: every cut of a file is an error") {
  for (bool progressive : {false, true}) {
    JpegRecipe recipe = ramp(9, 11, 3, JCS_RGB);
    recipe.progressive = progressive;
    recipe.app1 = test::exif_payload(6, true);
    const Bytes whole = encode_jpeg(recipe);
    for (std::size_t length = 0; length < whole.size(); ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      INFO("cut after " << length << " of " << whole.size());
      CHECK_THROWS_AS(decode_jpeg(cut), Error);
    }
  }
}

TEST_CASE("jpeg: any one byte changed gives an image or an error") {
  const Bytes whole = encode_jpeg(ramp(4, 5, 3, JCS_RGB));
  const ImageLimits limits{.max_pixels = 100'000};
  std::size_t images = 0, errors = 0;
  for (std::size_t position = 0; position < whole.size(); ++position) {
    for (int change : {0x01, 0x10, 0x80, 0xFF}) {
      Bytes changed = whole;
      changed[position] = static_cast<std::uint8_t>(changed[position] ^ change);
      try {
        images += decode_jpeg(changed, limits).height() > 0;
      } catch (const Error&) {
        ++errors;
      }
    }
  }
  CHECK(images + errors == whole.size() * 4);
  CHECK(errors > 0);
}

}  // namespace
