#include "catch.hpp"

#include <moevit/io/ppm.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace {

using namespace moevit;
using Bytes = std::vector<std::uint8_t>;

Image decode(const std::string& text, const ImageLimits& limits = {}) {
  return decode_ppm(Bytes(text.begin(), text.end()), limits);
}
Bytes pixels(const Image& image) { return {image.pixels().begin(), image.pixels().end()}; }

TEST_CASE("ppm: binary colour and grey") {
  const Image colour = decode("P6\n2 1\n255\n\1\2\3\4\5\6");
  CHECK(colour.height() == 1);
  CHECK(colour.width() == 2);
  CHECK(pixels(colour) == Bytes{1, 2, 3, 4, 5, 6});
  const Image grey = decode("P5 1 2 255\n\7\x08");
  CHECK(grey.channels() == 1);
  CHECK(pixels(grey) == Bytes{7, 8});
}

TEST_CASE("ppm: plain colour and grey, comments anywhere") {
  CHECK(pixels(decode("P3 # colour\n2 1 #size\n255\n 1 2 3\n#last\n4 5 6")) == Bytes{1, 2, 3, 4, 5, 6});
  CHECK(pixels(decode("P2\n3 1\n255\n0\t128\r\n255\n")) == Bytes{0, 128, 255});
  CHECK(pixels(decode("P5#c\n#d\n1#e\n 1\n255\n\7")) == Bytes{7});
}

TEST_CASE("ppm: samples of any maximum are spread to 0..255") {
  CHECK(pixels(decode("P2 4 1 3 0 1 2 3")) == Bytes{0, 85, 170, 255});
  CHECK(pixels(decode("P2 3 1 1000 0 500 1000")) == Bytes{0, 128, 255});  // 127.5 goes to the even number
  CHECK(pixels(decode(std::string("P5 2 1 65535\n\x80\x00\xFF\xFF", 17))) == Bytes{128, 255});
  CHECK(pixels(decode("P5 2 1 1\n" + std::string("\0\1", 2))) == Bytes{0, 255});
}

TEST_CASE("ppm: damaged files are errors") {
  for (const char* text : {"P6",
                           "P6 1",
                           "P6 1 1",
                           "P6 1 1 255",
                           "P6 1 1 255\n12",
                           "P6 x 1 255\n123",
                           "P6 1 1 256\n12345",
                           "P6 0 1 255\n",
                           "P6 1 1 0\n123",
                           "P6 1 1 65536\n123456",
                           "P6 -1 1 255\n123",
                           "P6 1a 1 255\n123",
                           "P4 8 1\n1",
                           "P7 1 1 255\n1",
                           "P3 1 1 255 1 2",
                           "P3 1 1 255 1 2 256",
                           "P3 1 1 255 1 2 x",
                           "",
                           "P",
                           "P5 1 1 255#comment\n1",
                           "P5 1 1 10\n\x0b"}) {
    INFO(text);
    CHECK_THROWS_AS(decode(text), Error);
  }
}

TEST_CASE("ppm: a huge size is refused before memory is taken") {
  CHECK_THROWS_WITH(decode("P6 60000 60000 255\n"), Catch::Contains("60000 x 60000 pixels, the limit is"));
  CHECK_THROWS_WITH(decode("P6 9000 9000 255\n"), Catch::Contains("need at least 243000000 bytes, found 0"));
  CHECK_THROWS_AS(decode("P6 99999999999999999999 1 255\n"), Error);
  CHECK_THROWS_AS(decode("P5 3 3 255\n123456789", {.max_width = 2}), Error);
}

TEST_CASE("ppm: every cut of a file is an error") {
  for (const std::string& whole : {std::string("P6\n2 2\n255\n123456789abc"), std::string("P2\n2 1\n15\n7 9")}) {
    CHECK_NOTHROW(decode(whole));
    for (std::size_t length = 0; length < whole.size(); ++length) {
      INFO(length);
      CHECK_THROWS_AS(decode(whole.substr(0, length)), Error);
    }
  }
}

TEST_CASE("ppm: any one byte changed gives an image or an error") {
  const std::string whole = "P6\n2 2\n255\n123456789abc";
  const ImageLimits limits{.max_pixels = 10000};
  std::size_t images = 0, errors = 0;
  for (std::size_t position = 0; position < whole.size(); ++position) {
    for (int value = 0; value < 256; ++value) {
      std::string changed = whole;
      changed[position] = static_cast<char>(value);
      try {
        images += decode(changed, limits).height() > 0;
      } catch (const Error&) {
        ++errors;
      }
    }
  }
  CHECK(images + errors == whole.size() * 256);
  CHECK(images > 0);
  CHECK(errors > 0);
}

}  // namespace
