// PNG files whose pixels are numbers: every depth as stored, palettes without colours, what is refused.
#include <moevit/io/png_numbers.hpp>

#include "catch.hpp"
#include "errors.hpp"
#include "io/dataset_files.hpp"
#include "io/image_encoders.hpp"
#include "io/temporary_folder.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

struct PngFile : TemporaryFolder {
  explicit PngFile(const PngRecipe& recipe) { write_bytes(file(), encode_png(recipe)); }
  std::filesystem::path file() const { return *this / "map.png"; }
};

std::vector<int> numbers(const Image& image) { return {image.pixels().begin(), image.pixels().end()}; }
std::vector<int> numbers(const NumberMap& map) { return {map.values.begin(), map.values.end()}; }

}  // namespace

TEST_CASE("number maps: 16 bits, and fewer") {
  for (const bool interlaced : {false, true}) {
    const PngFile wide({.height = 2,
                        .width = 2,
                        .bits = 16,
                        .color_type = PNG_COLOR_TYPE_GRAY,
                        .interlaced = interlaced,
                        .rows = {{0, 0, 0, 1}, {1, 0, 255, 254}}});
    const NumberMap map = load_number_map(wide.file());
    CHECK(map.height == 2);
    CHECK(map.width == 2);
    CHECK(numbers(map) == std::vector<int>{0, 1, 256, 65534});
    CHECK(map(1, 0) == 256);
    CHECK(contains(error_of([&] { load_class_map(wide.file()); }), "expected at most 8 bits per pixel, found 16"));
  }
  const PngFile bytes({.height = 1, .width = 3, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0, 7, 255}}});
  CHECK(numbers(load_number_map(bytes.file())) == std::vector<int>{0, 7, 255});
}

TEST_CASE("class maps: grey of any depth is not spread, indices are not looked up") {
  const PngFile bytes({.height = 1, .width = 3, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0, 11, 255}}});
  CHECK(numbers(load_class_map(bytes.file())) == std::vector<int>{0, 11, 255});
  const PngFile four(
      {.height = 2, .width = 3, .bits = 4, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0x1F, 0x20}, {0x30, 0x40}}});
  CHECK(numbers(load_class_map(four.file())) == std::vector<int>{1, 15, 2, 3, 0, 4});
  CHECK(numbers(load_number_map(four.file())) == std::vector<int>{1, 15, 2, 3, 0, 4});
  const PngFile one(
      {.height = 1, .width = 9, .bits = 1, .color_type = PNG_COLOR_TYPE_GRAY, .rows = {{0b10100001, 0x80}}});
  CHECK(numbers(load_class_map(one.file())) == std::vector<int>{1, 0, 1, 0, 0, 0, 0, 1, 1});
  const std::vector<png_color> palette{{9, 9, 9}, {200, 0, 0}, {0, 200, 0}};
  const PngFile indexed(
      {.height = 1, .width = 3, .color_type = PNG_COLOR_TYPE_PALETTE, .rows = {{2, 0, 1}}, .palette = palette});
  CHECK(numbers(load_class_map(indexed.file())) == std::vector<int>{2, 0, 1});
  const PngFile two_bits({.height = 1,
                          .width = 3,
                          .bits = 2,
                          .color_type = PNG_COLOR_TYPE_PALETTE,
                          .rows = {{0b10000100}},
                          .palette = palette});
  CHECK(numbers(load_class_map(two_bits.file())) == std::vector<int>{2, 0, 1});
  CHECK(contains(error_of([&] { load_number_map(indexed.file()); }), "map.png: expected a grey PNG"));
}

TEST_CASE("maps of numbers refuse colours, alpha, damage and other files") {
  const PngFile colour({.height = 1, .width = 1, .rows = {{1, 2, 3}}});
  CHECK(contains(error_of([&] { load_class_map(colour.file()); }), "grey PNG or one with a palette"));
  CHECK(contains(error_of([&] { load_number_map(colour.file()); }), "found PNG colour type 2"));
  const PngFile alpha({.height = 1, .width = 1, .color_type = PNG_COLOR_TYPE_GRAY_ALPHA, .rows = {{1, 2}}});
  CHECK_THROWS_AS(load_class_map(alpha.file()), Error);
  const Bytes whole = encode_png(
      {.height = 9, .width = 9, .color_type = PNG_COLOR_TYPE_GRAY, .rows = std::vector<Bytes>(9, Bytes(9, 3))});
  const PngFile cut(PngRecipe{.rows = {{1, 2, 3}}});
  for (std::size_t size = 0; size < whole.size(); size += 3) {
    write_bytes(cut.file(), {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
    CHECK_THROWS_AS(load_class_map(cut.file()), Error);
    CHECK_THROWS_AS(load_number_map(cut.file()), Error);
  }
  CHECK_THROWS_AS(load_class_map(cut / "none.png"), Error);
  write_bytes(cut.file(), whole);
  CHECK_THROWS_AS(load_number_map(cut.file(), {.max_pixels = 80}), Error);
}
