// COCO annotations: numbers with gaps, crowds, lists in any order, damaged and hostile files, and a golden set.
#include <moevit/io/datasets/coco.hpp>

#include "catch.hpp"
#include "errors.hpp"
#include "io/detection_files.hpp"
#include "io/temporary_folder.hpp"
#include "shared.hpp"

#include <nlohmann/json.hpp>

#include <fstream>

using namespace moevit;
using namespace moevit::test;

namespace {

const std::string images =
    R"("images": [{"id": 7, "file_name": "b.pgm", "height": 10, "width": 20, "coco_url": {"a": [1]}},
                                         {"id": 3, "file_name": "in/a.pgm", "height": 5, "width": 5}])";
const std::string categories =
    R"("categories": [{"id": 90, "name": "dog", "supercategory": "animal"}, {"id": 1, "name": "cat"}])";

/// Annotations with one record.
std::string annotations(const std::string& record) { return "\"annotations\": [{" + record + "}]"; }
std::string file_of(const std::string& a, const std::string& b, const std::string& c) {
  return "{\"info\": {\"year\": 2026, \"id\": [\"x\", null]}, " + a + ", " + b + ", " + c + "}";
}
const std::string plain = annotations(R"("image_id": 7, "category_id": 90, "bbox": [1, 2, 3.5, 4])");

struct CocoFolder : TemporaryFolder {
  CocoFolder() {
    write_image(*this / "b.pgm", 10, 20);
    write_image(*this / "in/a.pgm", 5, 5);
  }
  DetectionAnnotations read(const std::string& text) const {
    write_text(*this / "instances.json", text);
    return read_coco(*this / "instances.json", path());
  }
  std::string problem(const std::string& text) const {
    return error_of([&] { read(text); });
  }
  std::string problem_of_record(const std::string& record) const {
    return problem(file_of(images, categories, annotations(record)));
  }
};

}  // namespace

TEST_CASE("coco: images and categories by number, objects in the order of the file") {
  const CocoFolder folder;
  const auto read = folder.read(file_of(R"("annotations": [
      {"id": 5, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3.5, 4], "area": 9.5, "iscrowd": 0,
       "segmentation": [[1, 2, 3, 4]]},
      {"id": 4, "image_id": 7, "category_id": 1, "bbox": [0, 0, 20, 10], "iscrowd": 1,
       "segmentation": {"counts": [1, 2], "size": [10, 20], "bbox": 3}},
      {"id": 6, "image_id": 7, "category_id": 1, "bbox": [5, 5, 0, 3]}])",
                                        categories, images));
  CHECK(read.class_names == std::vector<std::string>{"cat", "dog"});
  REQUIRE(read.images.size() == 2);
  CHECK(read.images[0].path == folder / "in/a.pgm");
  CHECK(read.images[0].objects.empty());
  REQUIRE(read.images[1].objects.size() == 2);
  CHECK(read.images[1].objects[0] == TrueBox{{1, 2, 3.5, 4}, 1, 9.5, false});
  CHECK(read.images[1].objects[1] == TrueBox{{0, 0, 20, 10}, 0, 200, true});
  CHECK(read.counts == AnnotationCounts{3, 1, 0, 0, 1});
  CHECK(contains(read.warnings.at(0), "instances.json: annotations[2]: left out: no area"));
  CHECK(folder.read(R"({"images": [], "annotations": [], "categories": []})").images.empty());
}

TEST_CASE("coco: records that do not fit are named") {
  const CocoFolder folder;
  const std::string rest = R"("category_id": 1, "bbox": [1, 2, 3, 4])";
  CHECK(contains(folder.problem_of_record(rest), "annotations[0]: has no field 'image_id'"));
  CHECK(contains(folder.problem_of_record("\"image_id\": 8, " + rest), "annotations[0]: there is no image 8"));
  CHECK(contains(folder.problem_of_record("\"image_id\": \"7\", " + rest), "'image_id' cannot be a text"));
  CHECK(contains(folder.problem_of_record("\"image_id\": 7.5, " + rest), "'image_id' cannot be a fraction"));
  CHECK(contains(folder.problem_of_record("\"image_id\": null, " + rest), "'image_id' cannot be null"));
  CHECK(contains(folder.problem_of_record("\"image_id\": [7], " + rest), "'image_id' cannot be an array"));
  CHECK(contains(folder.problem_of_record("\"image_id\": {}, " + rest), "'image_id' cannot be an object"));
  CHECK(contains(folder.problem_of_record("\"image_id\": 7, \"image_id\": 7, " + rest), "occurs twice"));
  CHECK(contains(folder.problem_of_record("\"image_id\": 18446744073709551615, " + rest), "too large"));
  const std::string known = R"("image_id": 7, "category_id": 1, )";
  CHECK(
      contains(folder.problem_of_record(R"("image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4])"), "no category 2"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": [1, 2, 3]"), "less than 4"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": [1, 2, 3, 4, 5]"), "more than 4"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": [1, 2, 3, \"4\"]"), "'bbox' cannot be a text"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": [1, 2, 3, [4]]"), "'bbox' cannot be an array"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": 4"), "'bbox' cannot be a whole number"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": [1, 2, NaN, 4]"), "not valid JSON at byte"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": [1, 2, 1e999, 4]"), "not valid JSON at byte"));
  CHECK(contains(folder.problem_of_record(known + "\"bbox\": [1e308, 2, 1e308, 4]"), "without finite numbers"));
}

TEST_CASE("coco: files that do not fit") {
  const CocoFolder folder;
  CHECK(contains(folder.problem(""), "not valid JSON"));
  CHECK(contains(folder.problem("[]"), "expected an object, found an array"));
  CHECK(contains(folder.problem("3"), "expected an object"));
  CHECK(contains(folder.problem("{" + images + "}"), "expected a list 'annotations'"));
  CHECK(contains(folder.problem("{" + images + ", " + images + "}"), "'images' occurs twice"));
  CHECK(contains(folder.problem(file_of(plain, categories, "\"images\": 3")), "'images': expected a list"));
  CHECK(contains(folder.problem(file_of(plain, categories, "\"images\": {}")), "'images': expected a list"));
  CHECK(contains(folder.problem(file_of(plain, categories, "\"images\": [3]")), "images[0]: expected an object"));
  CHECK(contains(folder.problem(file_of(plain, categories, "\"images\": [[]]")), "images[0]: expected an object"));
  const auto image = [&](const std::string& name, const std::string& height) {
    return folder.problem(file_of(
        plain, categories,
        "\"images\": [{\"id\": 7, \"file_name\": \"" + name + "\", \"height\": " + height + ", \"width\": 20}]"));
  };
  CHECK(contains(image("c.pgm", "10"), "c.pgm does not exist"));
  CHECK(contains(image("../b.pgm", "10"), "below the folder"));
  CHECK(contains(image("/b.pgm", "10"), "below the folder"));
  CHECK(contains(image("", "10"), "below the folder"));
  CHECK(contains(image("b.pgm", "-10"), "no content"));
  const std::string one = R"({"id": 7, "file_name": "b.pgm", "height": 10, "width": 20})";
  CHECK(contains(folder.problem(file_of(plain, categories, "\"images\": [" + one + ", " + one + "]")),
                 "image 7 comes twice"));
  const std::string deep(100'000, '[');
  CHECK(contains(folder.problem(file_of(plain, categories, images + ", \"x\": " + deep)), "nested too deep"));
  std::string objects;
  for (int i = 0; i < 1000; ++i) objects += "{\"a\": ";
  CHECK(contains(folder.problem("{\"x\": " + objects), "nested too deep"));
  CHECK(contains(folder.problem(file_of(images, categories, plain).substr(0, 300)), "not valid JSON"));
  CHECK_THROWS_AS(read_coco(folder / "none.json", folder.path()), Error);
  write_text(folder / "large.json", file_of(images, categories, plain));
  CHECK(contains(error_of([&] { read_coco(folder / "large.json", folder.path(), {.max_file_bytes = 100}); }), "limit"));
}

TEST_CASE("coco: every prefix of a file is refused") {
  const CocoFolder folder;
  const std::string text = file_of(images, categories, plain);
  CHECK(folder.read(text).images.size() == 2);
  for (std::size_t size = 0; size < text.size(); ++size) CHECK_THROWS_AS(folder.read(text.substr(0, size)), Error);
}

TEST_CASE("coco: the golden set of average precision") {
  const auto path = shared("golden2/coco_map_many/instances.json");
  if (!path) return;
  std::ifstream stream(*path);
  auto json = nlohmann::json::parse(stream);
  const TemporaryFolder folder;
  for (auto& image : json.at("images")) {  // the set has no pixels
    image["file_name"] = image.at("id").dump() + ".pgm";
    write_text(folder / image.at("file_name").get<std::string>(), "P5");
  }
  write_text(folder / "instances.json", json.dump());
  const auto read = read_coco(folder / "instances.json", folder.path());
  CHECK(read.images.size() == json.at("images").size());
  CHECK(read.class_names.size() == json.at("categories").size());
  CHECK(read.counts.objects == static_cast<Index>(json.at("annotations").size()));
}
