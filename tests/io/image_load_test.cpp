#include "catch.hpp"
#include "io/image_encoders.hpp"
#include "io/temporary_folder.hpp"
#include "shared.hpp"

#include <moevit/io/image.hpp>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace moevit;
using test::Bytes;

void write(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
}

const Bytes white_ppm{'P', '6', ' ', '2', ' ', '1', ' ', '2', '5', '5', '\n', 255, 255, 255, 255, 255, 255};

TEST_CASE("image: the format is recognised by content, whatever the name") {
  const test::TemporaryFolder folder;
  write(folder / "a.jpg", test::encode_png({.width = 3, .rows = {Bytes(9, 1)}}));
  write(folder / "b.png", white_ppm);
  write(folder / "c", test::encode_jpeg({.width = 4, .pixels = Bytes(12, 1)}));
  CHECK(load_image(folder / "a.jpg").width() == 3);
  CHECK(load_image(folder / "b.png").width() == 2);
  CHECK(load_image(folder / "c").width() == 4);
}

TEST_CASE("image: errors name the file and the reason") {
  const test::TemporaryFolder folder;
  write(folder / "empty.jpg", {});
  write(folder / "text.png", {'h', 'e', 'l', 'l', 'o'});
  write(folder / "cut.ppm", Bytes(white_ppm.begin(), white_ppm.end() - 1));
  CHECK_THROWS_WITH(load_image(folder / "empty.jpg"), Catch::Contains("empty.jpg: the file is empty"));
  CHECK_THROWS_WITH(load_image(folder / "text.png"), Catch::Contains("text.png: not an image"));
  CHECK_THROWS_WITH(load_image(folder / "cut.ppm"),
                    Catch::Contains("cut.ppm: PPM: 2 x 1 pixels need at least 6 bytes, found 5"));
  CHECK_THROWS_WITH(load_image(folder / "absent.jpg"), Catch::Contains("absent.jpg: no such file"));
  CHECK_THROWS_WITH(load_image(folder.path()), Catch::Contains("not a regular file"));
}

TEST_CASE("image: the size of the file is limited") {
  const test::TemporaryFolder folder;
  write(folder / "a.ppm", white_ppm);
  CHECK_THROWS_WITH(load_image(folder / "a.ppm", {.max_file_bytes = 16}),
                    Catch::Contains("a.ppm: 17 bytes, the limit for a file is 16"));
  CHECK_NOTHROW(load_image(folder / "a.ppm", {.max_file_bytes = 17}));
}

TEST_CASE("image: read_image takes a path as the command line gives it") {
  const test::TemporaryFolder folder;
  write(folder / "a.ppm", white_ppm);
  const std::string path = (folder / "a.ppm").string();
  const char* argument = path.c_str();
  Preprocessing target;
  target.height = target.width = 2;
  std::vector<float> batch(24, 0.0f);
  read_image(argument, target, std::span<float>(batch).subspan(12, 12));
  CHECK(batch[11] == 0.0f);
  CHECK(batch[12] == 1.0f);  // white, mean 0.5, deviation 0.5
  CHECK(batch[23] == 1.0f);
  std::vector<float> short_span(11);
  CHECK_THROWS_AS(read_image(argument, target, short_span), Error);
}

/// A line of LIST.tsv: good files have a size as stored, bad ones "-".
struct Listed {
  std::string file, width, height, mode;
};

std::vector<Listed> read_list(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::vector<Listed> list;
  std::string line;
  std::getline(stream, line);  // the heading
  while (std::getline(stream, line)) {
    std::istringstream fields(line);
    Listed listed;
    fields >> listed.file >> listed.width >> listed.height >> listed.mode;
    list.push_back(listed);
  }
  return list;
}

TEST_CASE("image: the shared image files decode or are refused, as their list says") {
  const auto folder = test::shared("data/images");
  if (!folder) return;
  std::size_t good = 0, bad = 0;
  for (const Listed& listed : read_list(*folder / "LIST.tsv")) {
    INFO(listed.file);
    if (listed.mode == "undecodable") {
      CHECK_THROWS_WITH(load_image(*folder / listed.file), Catch::Contains(listed.file + ": "));
      ++bad;
      continue;
    }
    const Image image = load_image(*folder / listed.file);
    const bool turned = listed.file.find("orientation6") != std::string::npos;  // the list has the size as stored
    CHECK(std::to_string(turned ? image.height() : image.width()) == listed.width);
    CHECK(std::to_string(turned ? image.width() : image.height()) == listed.height);
    const bool grey = listed.mode == "L" || listed.mode == "LA" || listed.mode == "1" || listed.mode == "I;16";
    CHECK(image.channels() == (grey ? 1 : 3));
    ++good;
  }
  CHECK(good == 15);
  CHECK(bad == 6);
}

TEST_CASE("image: every shared file that is cut to half is refused") {
  const auto folder = test::shared("data/images");
  if (!folder) return;
  for (const Listed& listed : read_list(*folder / "LIST.tsv")) {
    if (listed.mode == "undecodable") continue;
    const BoundedFile file(*folder / listed.file, ImageLimits{}.max_file_bytes);
    INFO(listed.file);
    CHECK_THROWS_AS(decode_image(file.bytes().first(file.bytes().size() / 2)), Error);
    CHECK_THROWS_AS(decode_image(file.bytes().first(file.bytes().size() - 1)), Error);
  }
}

}  // namespace
