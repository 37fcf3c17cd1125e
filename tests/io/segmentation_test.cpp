// Images with masks: which belong together, class numbers and sizes that do not fit, and a real set.
#include <moevit/io/datasets/segmentation.hpp>

#include "archive.hpp"
#include "catch.hpp"
#include "errors.hpp"
#include "io/detection_files.hpp"
#include "io/image_encoders.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

void write_mask(const std::filesystem::path& path, int height, int width, std::uint8_t number) {
  std::filesystem::create_directories(path.parent_path());
  const Bytes row(static_cast<std::size_t>(width), number);
  write_bytes(path, encode_png({.height = height,
                                .width = width,
                                .color_type = PNG_COLOR_TYPE_GRAY,
                                .rows = std::vector<Bytes>(static_cast<std::size_t>(height), row)}));
}

struct StreetFolder : TemporaryFolder {
  StreetFolder() {
    write_image(*this / "train/images/b.pgm", 3, 2);
    write_image(*this / "train/images/a.pgm", 1, 1);
    write_mask(*this / "train/masks/b.png", 3, 2, 1);
    write_mask(*this / "train/masks/a.png", 1, 1, 255);
  }
  SegmentationDataset open(SegmentationOptions options = {.class_names = {"road", "car"}}) const {
    return SegmentationDataset::of_folders(path(), std::move(options));
  }
};

}  // namespace

TEST_CASE("segmentation folders: images with the masks of their names") {
  const StreetFolder folder;
  write_text(folder / "train/images/notes.txt", "hello");
  const SegmentationDataset dataset = folder.open();
  REQUIRE(dataset.size() == 2);
  CHECK(dataset.classes() == 2);
  CHECK(dataset.skipped().size() == 1);
  CHECK(contains(dataset.name(1), "b.pgm"));
  CHECK(dataset.label(0) == -1);
  CHECK(dataset.mask(0).pixels()[0] == 255);
  const auto [image, mask] = dataset.pixels_and_mask(1);
  CHECK(image.height() == 3);
  CHECK(mask.pixels().size() == 6);
  CHECK(mask.pixels()[5] == 1);
  CHECK_THROWS_AS(dataset.mask(2), Error);
}

TEST_CASE("segmentation folders: what does not fit is named") {
  const StreetFolder folder;
  write_mask(folder / "train/masks/b.png", 3, 2, 2);
  CHECK(contains(error_of([&] { folder.open().mask(1); }),
                 "b.png: row 0, column 0: expected a class from 0 to 1 or 255, which is ignored, found 2"));
  CHECK(folder.open({.class_names = {"road", "car"}, .ignored = 2}).mask(1).pixels()[0] == 2);
  CHECK_THROWS_AS(folder.open({.class_names = {"road", "car"}, .ignored = 2}).mask(0), Error);
  write_mask(folder / "train/masks/b.png", 2, 3, 1);
  CHECK(contains(error_of([&] { folder.open().pixels_and_mask(1); }), "expected a mask of 2 x 3 pixels"));
  CHECK_THROWS_AS(folder.open({.class_names = {}}), Error);
  CHECK_THROWS_AS(folder.open({.split = "val", .class_names = {"road"}}), Error);
  write_mask(folder / "train/masks/c.png", 1, 1, 0);
  CHECK(contains(error_of([&] { folder.open(); }), "c.png: is the mask of no image"));
  std::filesystem::remove(folder / "train/masks/c.png");
  std::filesystem::remove(folder / "train/masks/a.png");
  CHECK(contains(error_of([&] { folder.open(); }), "a.png does not exist"));
}

TEST_CASE("segmentation: sets are put together") {
  const StreetFolder first, second;
  write_mask(second / "train/masks/b.png", 3, 2, 0);
  SegmentationDataset both = first.open();
  both.append(second.open());
  REQUIRE(both.size() == 4);
  CHECK(both.mask(1).pixels()[0] == 1);
  CHECK(both.mask(3).pixels()[0] == 0);
  CHECK(contains(error_of([&] { both.append(second.open({.class_names = {"road", "bus"}})); }), "the same 2 classes"));
  CHECK_THROWS_AS(both.append(second.open({.class_names = {"road", "car"}, .ignored = 9})), Error);
  CHECK(both.size() == 4);
}

TEST_CASE("segmentation: streets (CamVid)") {
  const auto folder = unpacked("camvid-nc.tar");
  if (!folder) return;
  const std::vector<std::string> names{"sky",  "building", "pole", "road",       "pavement", "tree",
                                       "sign", "fence",    "car",  "pedestrian", "bicyclist"};
  for (const auto& [split, images] : {std::pair{"train", 367}, {"val", 101}, {"test", 233}}) {
    const auto dataset =
        SegmentationDataset::of_folders(folder->path(), {.split = split, .class_names = names, .ignored = 11});
    REQUIRE(dataset.size() == images);
    for (Index i = 0; i < dataset.size(); i += 50) {
      const auto [image, mask] = dataset.pixels_and_mask(i);
      CHECK(mask.width() == 360);
      CHECK(mask.height() == 270);
    }
    const auto strict = SegmentationDataset::of_folders(folder->path(), {.split = split, .class_names = names});
    CHECK(contains(error_of([&] {
                     for (Index i = 0; i < strict.size(); ++i) strict.mask(i);
                   }),
                   "found 11"));
  }
}
