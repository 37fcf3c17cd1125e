#include "catch.hpp"
#include "io/image_encoders.hpp"

#include <moevit/io/png.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace moevit;
using test::Bytes;
using test::encode_png;
using test::PngRecipe;

Bytes pixels(const Image& image) { return {image.pixels().begin(), image.pixels().end()}; }

/// Rows of one packed type from a counter, each `row_bytes` long.
std::vector<Bytes> counting_rows(int height, int row_bytes) {
  std::vector<Bytes> rows;
  for (int y = 0; y < height; ++y) {
    Bytes row;
    for (int i = 0; i < row_bytes; ++i) row.push_back(static_cast<std::uint8_t>(31 * y + 7 * i));
    rows.push_back(row);
  }
  return rows;
}

Bytes joined(const std::vector<Bytes>& rows) {
  Bytes all;
  for (const Bytes& row : rows) all.insert(all.end(), row.begin(), row.end());
  return all;
}

/// The position of a chunk's type in the file.
std::size_t find_chunk(const Bytes& file, const std::string& type) {
  const auto found = std::search(file.begin(), file.end(), type.begin(), type.end());
  REQUIRE(found != file.end());
  return static_cast<std::size_t>(found - file.begin());
}

TEST_CASE("png: colour and grey of 8 bits, plain and interlaced, odd sizes") {
  for (auto [height, width] : {std::pair{1, 1}, {1, 9}, {7, 1}, {5, 3}, {16, 17}}) {
    for (bool interlaced : {false, true}) {
      PngRecipe colour{
          .height = height, .width = width, .interlaced = interlaced, .rows = counting_rows(height, width * 3)};
      const Image image = decode_png(encode_png(colour));
      CHECK(image.height() == height);
      CHECK(image.width() == width);
      CHECK(image.channels() == 3);
      CHECK(pixels(image) == joined(colour.rows));
      PngRecipe grey{.height = height,
                     .width = width,
                     .color_type = PNG_COLOR_TYPE_GRAY,
                     .interlaced = interlaced,
                     .rows = counting_rows(height, width)};
      const Image grey_image = decode_png(encode_png(grey));
      CHECK(grey_image.channels() == 1);
      CHECK(pixels(grey_image) == joined(grey.rows));
    }
  }
}

TEST_CASE("png: grey of 1, 2 and 4 bits is spread to 0..255") {
  PngRecipe one{.width = 9, .bits = 1, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0b10110000, 0b10000000}}};
  CHECK(pixels(decode_png(encode_png(one))) == Bytes{255, 0, 255, 255, 0, 0, 0, 0, 255});
  PngRecipe two{.width = 5, .bits = 2, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0b00011011, 0b11000000}}};
  CHECK(pixels(decode_png(encode_png(two))) == Bytes{0, 85, 170, 255, 255});
  PngRecipe four{.width = 3, .bits = 4, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0x0F, 0x10}}};
  CHECK(pixels(decode_png(encode_png(four))) == Bytes{0, 255, 17});
}

TEST_CASE("png: of 16 bits the high byte is kept") {
  PngRecipe grey{.width = 2, .bits = 16, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0x12, 0xFF, 0xFE, 0xFF}}};
  CHECK(pixels(decode_png(encode_png(grey))) == Bytes{0x12, 0xFE});
  PngRecipe colour{.bits = 16, .rows = {{0x01, 0xF0, 0x02, 0xF0, 0x03, 0xF0}}};
  CHECK(pixels(decode_png(encode_png(colour))) == Bytes{1, 2, 3});
}

TEST_CASE("png: palettes of any depth become colour") {
  const std::vector<png_color> palette{{10, 20, 30}, {40, 50, 60}, {70, 80, 90}};
  PngRecipe wide{.width = 3, .color_type = PNG_COLOR_TYPE_PALETTE, .rows = {{2, 0, 1}}, .palette = palette};
  CHECK(pixels(decode_png(encode_png(wide))) == Bytes{70, 80, 90, 10, 20, 30, 40, 50, 60});
  PngRecipe narrow{
      .width = 3, .bits = 2, .color_type = PNG_COLOR_TYPE_PALETTE, .rows = {{0b10000100}}, .palette = palette};
  CHECK(pixels(decode_png(encode_png(narrow))) == Bytes{70, 80, 90, 10, 20, 30, 40, 50, 60});
}

TEST_CASE("png: an index beyond the palette is an error") {
  PngRecipe recipe{
      .bits = 2, .color_type = PNG_COLOR_TYPE_PALETTE, .rows = {{0b11000000}}, .palette = {{1, 2, 3}, {4, 5, 6}}};
  recipe.more = [](png_structp png, png_infop) { png_set_check_for_invalid_index(png, 0); };
  CHECK_THROWS_AS(decode_png(encode_png(recipe)), Error);
}

TEST_CASE("png: alpha is dropped, the stored colours stay") {
  PngRecipe colour{.width = 2, .color_type = PNG_COLOR_TYPE_RGB_ALPHA, .rows = {{1, 2, 3, 0, 4, 5, 6, 128}}};
  CHECK(pixels(decode_png(encode_png(colour))) == Bytes{1, 2, 3, 4, 5, 6});
  PngRecipe grey{.width = 2, .color_type = PNG_COLOR_TYPE_GRAY_ALPHA, .rows = {{7, 0, 8, 255}}};
  CHECK(pixels(decode_png(encode_png(grey))) == Bytes{7, 8});
  PngRecipe deep{.bits = 16, .color_type = PNG_COLOR_TYPE_GRAY_ALPHA, .rows = {{9, 200, 1, 1}}};
  CHECK(pixels(decode_png(encode_png(deep))) == Bytes{9});
}

TEST_CASE("png: a transparent colour is dropped") {
  PngRecipe palette{
      .width = 2, .color_type = PNG_COLOR_TYPE_PALETTE, .rows = {{0, 1}}, .palette = {{1, 2, 3}, {4, 5, 6}}};
  palette.more = [](png_structp png, png_infop info) {
    png_byte alpha[] = {0, 100};
    png_set_tRNS(png, info, alpha, 2, nullptr);
  };
  CHECK(pixels(decode_png(encode_png(palette))) == Bytes{1, 2, 3, 4, 5, 6});
  PngRecipe grey{.color_type = PNG_COLOR_TYPE_GRAY, .rows = {{5}}};
  grey.more = [](png_structp png, png_infop info) {
    png_color_16 colour{};
    colour.gray = 5;
    png_set_tRNS(png, info, nullptr, 1, &colour);
  };
  const Image image = decode_png(encode_png(grey));
  CHECK(image.channels() == 1);
  CHECK(pixels(image) == Bytes{5});
}

TEST_CASE("png: gamma, text and other extras change nothing") {
  PngRecipe recipe{.rows = {{10, 20, 30}}};
  recipe.more = [](png_structp png, png_infop info) {
    png_set_gAMA(png, info, 1.0);
    png_text text{};
    char key[] = "Title";
    char value[] = "extra";
    text.compression = PNG_TEXT_COMPRESSION_zTXt;
    text.key = key;
    text.text = value;
    png_set_text(png, info, &text, 1);
  };
  CHECK(pixels(decode_png(encode_png(recipe))) == Bytes{10, 20, 30});
}

TEST_CASE("png: limits are checked before anything is decoded") {
  const Bytes file = encode_png({.height = 10, .width = 20, .rows = counting_rows(10, 60)});
  CHECK_THROWS_WITH(decode_png(file, {.max_width = 19}, "wide.png"),
                    Catch::Contains("wide.png: 20 x 10 pixels, the limit is 19"));
  CHECK_THROWS_AS(decode_png(file, {.max_height = 9}), Error);
  CHECK_THROWS_AS(decode_png(file, {.max_pixels = 199}), Error);
  CHECK_NOTHROW(decode_png(file, {.max_width = 20, .max_height = 10, .max_pixels = 200}));
}

TEST_CASE("png: a wrong checksum in any chunk is an error") {
  PngRecipe recipe{
      .width = 2, .color_type = PNG_COLOR_TYPE_PALETTE, .rows = {{0, 1}}, .palette = {{1, 2, 3}, {4, 5, 6}}};
  recipe.more = [](png_structp png, png_infop info) { png_set_gAMA(png, info, 1.0); };
  const Bytes whole = encode_png(recipe);
  for (const char* type : {"IHDR", "gAMA", "PLTE", "IDAT", "IEND"}) {
    Bytes changed = whole;
    const std::size_t position = find_chunk(whole, type);
    const std::size_t length = whole[position - 1];
    changed[position + 4 + length] ^= 1;  // the first byte of the checksum
    INFO(type);
    CHECK_THROWS_AS(decode_png(changed), Error);
  }
}

TEST_CASE("png: every cut of a file is an error") {
  for (bool interlaced : {false, true}) {
    const Bytes whole = encode_png({.height = 3, .width = 4, .interlaced = interlaced, .rows = counting_rows(3, 12)});
    for (std::size_t length = 0; length < whole.size(); ++length) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
      INFO("cut after " << length << " of " << whole.size());
      CHECK_THROWS_AS(decode_png(cut), Error);
    }
  }
}

TEST_CASE(
    "png: any one byte changed is an error") {  // every byte is under a checksum, or part of one or of the signature
  const Bytes whole = encode_png({.height = 3, .width = 4, .rows = counting_rows(3, 12)});
  for (std::size_t position = 0; position < whole.size(); ++position) {
    for (int change : {0x01, 0x20, 0x80, 0xFF}) {
      Bytes changed = whole;
      changed[position] = static_cast<std::uint8_t>(changed[position] ^ change);
      INFO("byte " << position << " changed by " << change);
      CHECK_THROWS_AS(decode_png(changed), Error);
    }
  }
}

}  // namespace
