// YOLO annotations: shares of the size by hand, lines that do not fit, and sizes read without pixels.
#include <moevit/io/datasets/yolo.hpp>

#include "catch.hpp"
#include "errors.hpp"
#include "io/detection_files.hpp"
#include "io/image_encoders.hpp"
#include "io/temporary_folder.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

struct YoloFolder : TemporaryFolder {
  YoloFolder() {
    write_image(images() / "a.pgm", 10, 20);
    write_image(images() / "b.pgm", 1, 1);
    write_text(labels() / "a.txt", "1 0.5 0.5 0.5 0.2\n\n0 0.05 0.5 0.2 1e0\r\n1 .5 .5 0 .1\n0 2 2 .1 .1\n");
  }
  std::filesystem::path images() const { return path() / "images"; }
  std::filesystem::path labels() const { return path() / "labels"; }
  DetectionAnnotations read() const { return read_yolo(images(), labels(), {"cat", "dog"}); }
  std::string problem(const std::string& text) const {
    write_text(labels() / "b.txt", text);
    return error_of([&] { read(); });
  }
};

}  // namespace

TEST_CASE("yolo: boxes in pixels, images without a file, what is left out or cut") {
  const YoloFolder folder;
  write_text(folder.labels() / "classes.txt", "cat\r\ndog\n");
  CHECK(read_names(folder.labels() / "classes.txt") == std::vector<std::string>{"cat", "dog"});
  const DetectionAnnotations read = folder.read();
  REQUIRE(read.images.size() == 2);
  REQUIRE(read.images[0].objects.size() == 2);
  CHECK(read.images[0].objects[0] == TrueBox{{5, 4, 10, 2}, 1, 20});
  CHECK(read.images[0].objects[1].box == Box{0, 0, 3, 10});
  CHECK(read.images[1].objects.empty());
  CHECK(read.counts == AnnotationCounts{4, 1, 1, 1, 1});
  CHECK(contains(read.warnings.at(1), "a.txt: line 4: left out: no area"));
}

TEST_CASE("yolo: what does not fit is named with its line") {
  const YoloFolder folder;
  CHECK(contains(folder.problem("0 .5 .5 .1 .1\n2 .5 .5 .1 .1\n"),
                 "b.txt: line 2: expected a class from 0 to 1, found '2'"));
  CHECK(contains(folder.problem("-1 .5 .5 .1 .1\n"), "class"));
  CHECK(contains(folder.problem("1.0 .5 .5 .1 .1\n"), "class"));
  CHECK(contains(folder.problem("0 .5 .5 .1\n"), "found 4 fields"));
  CHECK(contains(folder.problem("0 .5 .5 .1 .1 .1 .1\n"), "found 7 fields"));
  for (const char* number : {"nan", "inf", "1e999", "0x1", "1,5", "?"})
    CHECK(contains(folder.problem(std::string("0 .5 ") + number + " .1 .1\n"), "expected a number"));
  CHECK(contains(folder.problem(std::string("0 .5 .5 .1 .1\0\n", 15)), "expected a number"));
  CHECK_THROWS_AS(read_yolo(folder.images(), folder.labels(), {}), Error);
  write_text(folder.labels() / "b.txt", "");
  write_text(folder.labels() / "c.txt", "");
  CHECK(contains(error_of([&] { folder.read(); }), "c.txt: is the annotation of no image"));
  std::filesystem::remove(folder.labels() / "c.txt");
  write_text(folder.images() / "d.png", "not a picture");
  CHECK(contains(error_of([&] { folder.read(); }), "d.png"));
  const TemporaryFolder empty;
  CHECK(contains(error_of([&] { read_yolo(empty.path(), empty.path(), {"cat"}); }), "no image"));
}

TEST_CASE("sizes of images are those of their pixels") {
  const TemporaryFolder folder;
  write_bytes(folder / "a", encode_png({.height = 3, .width = 2, .rows = std::vector<Bytes>(3, Bytes(6))}));
  write_image(folder / "b", 4, 5);
  for (int orientation = 1; orientation <= 8; ++orientation)
    write_bytes(folder / ("c" + std::to_string(orientation)),
                encode_jpeg({.height = 6, .width = 9, .app1 = exif_payload(orientation, false), .pixels = Bytes(162)}));
  for (const auto& path : sorted_entries(folder.path())) {
    const Image image = load_image(path);
    const ImageSize size = image_size(path);
    CHECK(size.height == image.height());
    CHECK(size.width == image.width());
    CHECK_THROWS_AS(image_size(path, {.max_pixels = 5}), Error);
  }
  write_bytes(folder / "d", {0xFF, 0xD8, 0xFF, 0xE0});
  CHECK_THROWS_AS(image_size(folder / "d"), Error);
}
