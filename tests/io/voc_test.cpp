// VOC annotations: boxes by hand, what is left out, damaged and hostile files, and a real set.
#if __has_include(<pugixml.hpp>)
#include <moevit/io/datasets/voc.hpp>

#include "archive.hpp"
#include "catch.hpp"
#include "errors.hpp"
#include "io/detection_files.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

std::string object(const std::string& name, const std::string& corners) {
  return "<object>\n<name>" + name + "</name><bndbox>" + corners + "</bndbox></object>\n";
}
std::string corners(double x0, double y0, double x1, double y1) {
  const auto element = [](const char* name, double value) {
    return std::string("<") + name + ">" + std::to_string(value) + "</" + name + ">";
  };
  return element("xmin", x0) + element("ymin", y0) + element("xmax", x1) + element("ymax", y1);
}
std::string annotation(const std::string& objects) {
  return "<annotation>\n<size><width>20</width><height>10</height></size>\n" + objects + "</annotation>\n";
}

/// A set of images of 10 x 20 pixels with these annotations.
class VocFolder : public TemporaryFolder {
 public:
  explicit VocFolder(const std::vector<std::string>& annotations) {
    std::string names;
    for (std::size_t i = 0; i < annotations.size(); ++i) {
      const std::string name = "image" + std::to_string(i);
      write_image(path() / "JPEGImages" / (name + ".pgm"), 10, 20);
      write_text(path() / "Annotations" / (name + ".xml"), annotations[i]);
      names += name + "\r\n";
    }
    write_text(path() / "ImageSets/Main/train.txt", names);
  }
};

std::string problem_of(const std::string& text) {
  const VocFolder folder({text});
  return error_of([&] { read_voc(folder.path()); });
}

}  // namespace

TEST_CASE("voc: boxes, classes by name, and what is left out or cut") {
  const VocFolder folder(
      {annotation(object("dog", corners(1, 2, 4, 8)) + object("cat &amp; dog", corners(0, 0, 20, 10))), annotation(""),
       annotation(object("dog", corners(3, 3, 3, 3)) + object("dog", corners(5, 5, 2, 7)) +
                  object("dog", corners(20, 0, 25, 5)) + object("cat", corners(-2, 4, 4.5, 12)))});
  const DetectionDataset dataset(read_voc(folder.path()));
  REQUIRE(dataset.size() == 3);
  CHECK(dataset.class_names() == std::vector<std::string>{"cat", "cat & dog", "dog"});
  REQUIRE(dataset.objects(0).size() == 2);
  CHECK(dataset.objects(0)[0] == TrueBox{{1, 2, 3, 6}, 2, 18, false});
  CHECK(dataset.objects(0)[1] == TrueBox{{0, 0, 20, 10}, 1, 200, false});
  CHECK(dataset.objects(1).empty());
  REQUIRE(dataset.objects(2).size() == 1);
  CHECK(dataset.objects(2)[0].box == Box{0, 4, 4.5, 6});
  CHECK(dataset.objects(2)[0].area == Approx(27));
  CHECK(dataset.annotations().counts == AnnotationCounts{6, 2, 1, 1, 1});
  REQUIRE(dataset.annotations().warnings.size() == 4);
  CHECK(contains(dataset.annotations().warnings[0], "image2.xml: line 3: left out: no area: x 3"));
  CHECK(contains(dataset.annotations().warnings[3], "image2.xml: line 9: cut"));
  CHECK(dataset.pixels(0).width() == 20);
  CHECK(contains(dataset.name(1), "image1.pgm"));
  CHECK(dataset.label(1) == -1);
  CHECK_THROWS_AS(dataset.objects(3), Error);
  CHECK_THROWS_AS(dataset.label(-1), Error);
}

TEST_CASE("voc: corners as pixels counted from 1") {
  const VocFolder folder({annotation(object("dog", corners(1, 1, 20, 10)) + object("dog", corners(7, 3, 7, 3)))});
  const auto read = read_voc(folder.path(), {.corners = VocCorners::pixels});
  REQUIRE(read.images[0].objects.size() == 2);
  CHECK(read.images[0].objects[0].box == Box{0, 0, 20, 10});
  CHECK(read.images[0].objects[1].box == Box{6, 2, 1, 1});
  CHECK(read.warnings.empty());
}

TEST_CASE("voc: no more warnings than a program can print") {
  std::string objects;
  for (int i = 0; i < 250; ++i) objects += object("dog", corners(3, 3, 3, 3));
  const VocFolder folder({annotation(objects)});
  const auto read = read_voc(folder.path());
  CHECK(read.counts.degenerate == 250);
  CHECK(std::ssize(read.warnings) == DetectionAnnotations::most_warnings);
}

TEST_CASE("voc: annotations of two splits are put together") {
  const VocFolder first({annotation(object("dog", corners(1, 2, 4, 8)))});
  const VocFolder second({annotation(""), annotation(object("dog", corners(3, 3, 3, 3)))});
  const std::vector<std::string> names{"dog"};
  DetectionAnnotations both = read_voc(first.path(), {.class_names = names});
  append(both, read_voc(second.path(), {.class_names = names}));
  CHECK(both.images.size() == 3);
  CHECK(both.counts == AnnotationCounts{.objects = 2, .degenerate = 1, .empty_images = 2});
  CHECK(both.warnings.size() == 1);
  CHECK(contains(error_of([&] {
                   append(both, read_voc(second.path(), {.class_names = {"dog", "cat"}}));
                 }),
                 "the same 1 classes"));
  CHECK(both.images.size() == 3);
}

TEST_CASE("voc: class names that are given decide") {
  const VocFolder folder({annotation(object("dog", corners(1, 2, 4, 8)))});
  const auto read = read_voc(folder.path(), {.class_names = {"bird", "dog"}});
  CHECK(read.class_names == std::vector<std::string>{"bird", "dog"});
  CHECK(read.images[0].objects[0].category == 1);
  CHECK(contains(error_of([&] { read_voc(folder.path(), {.class_names = {"bird"}}); }), "line 3: class 'dog'"));
  CHECK(contains(error_of([&] { read_voc(folder.path(), {.class_names = {"dog", "dog"}}); }), "twice"));
}

TEST_CASE("voc: damaged and hostile files are errors with a place") {
  CHECK(contains(problem_of("<annotation><size>"), "image0.xml: line 1: not XML"));
  CHECK(contains(problem_of(""), "image0.xml"));
  CHECK(contains(problem_of("<other/>"), "<annotation>"));
  CHECK(contains(problem_of("<annotation>\n\n<object/></annotation>"), "line 3: <object>: expected an element <name>"));
  CHECK(contains(problem_of("<annotation></annotation>"), "<size>"));
  CHECK(contains(problem_of(annotation(object("dog", "<xmin>1</xmin>"))), "<ymin>"));
  CHECK(
      contains(problem_of(annotation(object("dog", corners(1, 2, 3, 4) + "<xmin>1</xmin>"))), "more than one <xmin>"));
  CHECK(contains(problem_of(annotation(object("", corners(1, 2, 3, 4)))), "<name> is empty"));
  for (const char* number : {"one", "nan", "inf", "1e999", "1 2", "0x10", "<b>1</b>"}) {
    INFO(number);
    const std::string text =
        object("dog", std::string("<xmin>") + number + "</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax>");
    CHECK(contains(problem_of(annotation(text)), "xmin"));
  }
  CHECK(contains(problem_of("<annotation><size><width>0</width><height>3</height></size></annotation>"), "no content"));
  CHECK(
      contains(problem_of("<annotation><size><width>9999999</width><height>3</height></size></annotation>"), "limit"));
  CHECK(contains(problem_of("<!DOCTYPE a [<!ENTITY x \"boom\">]>\n" + annotation(object("&x;", corners(1, 2, 3, 4)))),
                 "document type"));
  CHECK(contains(problem_of(annotation(object("&boom;", corners(1, 2, 3, 4)))), "unknown entity"));
  std::string deep;
  for (int i = 0; i < 300'000; ++i) deep += "<a>";
  CHECK(contains(problem_of(deep), "not XML"));
  CHECK(contains(problem_of(annotation("<!--" + std::string(5 << 20, ' ') + "-->")), "the limit for a file"));
}

TEST_CASE("voc: missing files are named") {
  const VocFolder folder({annotation("")});
  CHECK(contains(error_of([&] { read_voc(folder.path(), {.split = "val"}); }), "val.txt: no such file"));
  const auto list = [&](const std::string& text) {
    write_text(folder / "ImageSets/Main/val.txt", text);
    return error_of([&] { read_voc(folder.path(), {.split = "val"}); });
  };
  CHECK(contains(list("image0\nimage7\n"), "val.txt: line 2: there is no image"));
  CHECK(contains(list("../image0\n"), "without a folder"));
  CHECK(contains(list("image0 -1\n"), "2 words"));
  std::filesystem::remove(folder / "Annotations/image0.xml");
  CHECK(contains(error_of([&] { read_voc(folder.path()); }), "image0.xml: no such file"));
  std::filesystem::remove_all(folder / "Annotations");
  CHECK(contains(error_of([&] { read_voc(folder.path()); }), "cannot be listed"));
}

TEST_CASE("voc: an image of another size than its annotation says") {
  const VocFolder folder({annotation("")});
  write_image(folder / "JPEGImages/image0.pgm", 10, 21);
  const DetectionDataset dataset(read_voc(folder.path()));
  CHECK(
      contains(error_of([&] { dataset.pixels(0); }), "expected 20 x 10 pixels, as its annotation says, found 21 x 10"));
}

TEST_CASE("voc: blood cells (BCCD)") {
  const auto folder = unpacked("bccd-voc.tar");
  if (!folder) return;
  Index objects = 0, degenerate = 0;
  std::vector<Index> of_class(3);
  for (const auto& [split, images] : {std::pair{"train", 205}, {"val", 87}, {"test", 72}}) {
    const DetectionDataset dataset(read_voc(*folder / "BCCD", {.split = split}));
    CHECK(dataset.size() == images);
    CHECK(dataset.class_names() == std::vector<std::string>{"Platelets", "RBC", "WBC"});
    const AnnotationCounts& counts = dataset.annotations().counts;
    objects += counts.objects, degenerate += counts.degenerate;
    CHECK(std::ssize(dataset.annotations().warnings) == counts.degenerate + counts.outside + counts.clipped);
    for (Index i = 0; i < dataset.size(); ++i)
      for (const TrueBox& object : dataset.objects(i)) ++of_class[static_cast<std::size_t>(object.category)];
    CHECK(dataset.pixels(0).width() == 640);
  }
  CHECK(objects == 4888);
  CHECK(degenerate == 2);
  CHECK(of_class[1] + of_class[2] + of_class[0] == 4886);
  CHECK(of_class[2] == 372);
  CHECK(of_class[0] + of_class[1] == 361 + 4155 - 2);
}
#endif
