// Instance maps: boxes and masks by hand, tables that do not fit, and a real set.
#include <moevit/io/datasets/segmentation.hpp>

#include "archive.hpp"
#include "catch.hpp"
#include "errors.hpp"
#include "io/detection_files.hpp"
#include "io/image_encoders.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

/// Two images of 2 x 4 pixels, of which "a" is for training and has two objects.
struct NucleiFolder : TemporaryFolder {
  NucleiFolder() {
    const std::vector<Bytes> rows{{0, 0, 0, 1, 0, 1, 0, 0}, {0, 0, 1, 44, 1, 44, 0, 0}};
    for (const char* name : {"a", "b"}) {
      write_image(*this / "images" / (std::string(name) + ".pgm"), 2, 4);
      std::filesystem::create_directories(*this / "instances");
      write_bytes(*this / "instances" / (std::string(name) + ".png"),
                  encode_png({.height = 2, .width = 4, .bits = 16, .color_type = PNG_COLOR_TYPE_GRAY, .rows = rows}));
    }
    write_text(split(), "name\tsplit\twidth\theight\tinstances\na\ttrain\t4\t2\t2\nb\tval\t4\t2\t0\n");
    write_text(boxes(), "name\tinstance\tx0\ty0\tx1\ty1\tarea\na\t1\t1\t0\t3\t1\t2\na\t300\t1\t1\t3\t2\t2\n");
  }
  std::filesystem::path operator/(const std::string& name) const { return path() / name; }
  std::filesystem::path split() const { return path() / "split.tsv"; }
  std::filesystem::path boxes() const { return path() / "boxes.tsv"; }
  std::string problem() const {
    return error_of([&] { read_box_table(path(), "train", "nucleus"); });
  }
};

}  // namespace

TEST_CASE("objects of a map: smallest boxes, areas, parts that do not hang together") {
  const NumberMap map{3,
                      5,
                      {7, 0, 0, 0, 7,  //
                       0, 2, 2, 0, 0,  //
                       0, 0, 2, 0, 0}};
  const auto objects = instances_of(map);
  REQUIRE(objects.size() == 2);
  CHECK(objects[0].number == 2);
  CHECK(objects[0].object == TrueBox{{1, 1, 2, 2}, 0, 3, false});
  CHECK(objects[1].number == 7);
  CHECK(objects[1].object == TrueBox{{0, 0, 5, 1}, 0, 2, false});
  const Image mask = foreground_of(map);
  CHECK(std::vector<int>(mask.pixels().begin(), mask.pixels().end()) ==
        std::vector<int>{1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0});
  CHECK(instances_of({1, 1, {0}}).empty());
  CHECK(instances_of({1, 1, {9}})[0].object.box == Box{0, 0, 1, 1});
}

TEST_CASE("a table of boxes, and the masks of the same images") {
  const NucleiFolder folder;
  const DetectionDataset dataset(read_box_table(folder.path(), "train", "nucleus"));
  REQUIRE(dataset.size() == 1);
  REQUIRE(dataset.objects(0).size() == 2);
  CHECK(dataset.objects(0)[1] == TrueBox{{1, 1, 2, 1}, 0, 2, false});
  CHECK(dataset.class_names() == std::vector<std::string>{"nucleus"});
  CHECK(read_box_table(folder.path(), "val", "nucleus").counts.empty_images == 1);
  const auto masks = SegmentationDataset::of_instances(folder.path(), "train", "nucleus");
  CHECK(masks.size() == 1);
  CHECK(masks.class_names() == std::vector<std::string>{"background", "nucleus"});
  const auto [image, mask] = masks.pixels_and_mask(0);
  CHECK(image.width() == 4);
  CHECK(std::vector<int>(mask.pixels().begin(), mask.pixels().end()) == std::vector<int>{0, 1, 1, 0, 0, 1, 1, 0});
}

TEST_CASE("tables that do not fit are errors with a line") {
  const NucleiFolder folder;
  CHECK(contains(error_of([&] { list_instance_images(folder.path(), "test"); }), "no image of split 'test'"));
  const std::string header = "name\tinstance\tx0\ty0\tx1\ty1\tarea\n";
  const auto with_boxes = [&](const std::string& lines) {
    write_text(folder.boxes(), lines);
    return folder.problem();
  };
  CHECK(contains(with_boxes(header + "a\t1\t1\t0\t3\t1\t2\n"), "expected 2 boxes, as split.tsv says, found 1"));
  CHECK(contains(with_boxes(header + "a\t1\t1\t0\t3\t1\n"), "boxes.tsv: line 2: expected 7 fields, found 6"));
  CHECK(contains(with_boxes(header + "a\t1\tx\t0\t3\t1\t2\n"), "line 2: x0: expected a whole number, found 'x'"));
  CHECK(contains(with_boxes("name\tx0\n"), "has no column 'y0'"));
  CHECK(contains(with_boxes(""), "names of its columns"));
  write_text(folder.boxes(), header);
  const std::string columns = "name\tsplit\twidth\theight\tinstances\n";
  const auto with_split = [&](const std::string& lines) {
    write_text(folder.split(), columns + lines);
    return folder.problem();
  };
  CHECK(contains(with_split("c\ttrain\t4\t2\t2\n"), "split.tsv: line 2: there is no image"));
  CHECK(contains(with_split("../a\ttrain\t4\t2\t2\n"), "without a folder"));
  CHECK(contains(with_split("b\ttrain\t4\t2\t0\nb\ttrain\t4\t2\t0\n"), "line 3: image 'b' comes twice"));
  std::filesystem::remove(folder / "instances/b.png");
  CHECK(contains(with_split("b\ttrain\t4\t2\t0\n"), "b.png does not exist"));
}

TEST_CASE("nuclei: splits, boxes and maps agree") {
  const auto folder = unpacked("nuclei-dsb2018.tar");
  if (!folder) return;
  Index boxes = 0;
  for (const auto& [split, images] : {std::pair{"train", 428}, {"val", 107}}) {
    const DetectionDataset dataset(read_box_table(folder->path(), split, "nucleus"));
    CHECK(dataset.size() == images);
    CHECK(dataset.annotations().warnings.empty());
    boxes += dataset.annotations().counts.objects;
    const auto listed = list_instance_images(folder->path(), split);
    const auto masks = SegmentationDataset::of_instances(folder->path(), split, "nucleus");
    REQUIRE(masks.size() == images);
    for (Index i = 0; i < images; ++i) {
      const auto found = instances_of(load_number_map(listed[static_cast<std::size_t>(i)].map));
      const auto told = dataset.objects(i);
      REQUIRE(found.size() == told.size());
      CHECK(std::equal(found.begin(), found.end(), told.begin(),
                       [](const Instance& instance, const TrueBox& object) { return instance.object == object; }));
    }
    CHECK(masks.pixels_and_mask(images - 1).second.height() == dataset.pixels(images - 1).height());
  }
  CHECK(boxes == 16331);
}
