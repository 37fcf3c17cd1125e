// Pictures and JSON of dense tasks: colours and numbers by hand, names that are markup, what is refused.
#include <moevit/io/dense_json.hpp>
#include <moevit/io/dense_report.hpp>

#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

using namespace moevit;
using namespace moevit::test;

namespace {

Image grey(Index height, Index width, const std::vector<int>& values) {
  Image image(height, width, 1);
  std::transform(values.begin(), values.end(), image.row(0),
                 [](int value) { return static_cast<std::uint8_t>(value); });
  return image;
}

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

const std::vector<std::string> names{"road & <path>", "car"};

}  // namespace

TEST_CASE("colours: hues as CSS defines them, classes apart") {
  CHECK(report::from_hsl(0, 1, 0.5) == report::Rgb{255, 0, 0});
  CHECK(report::from_hsl(120, 1, 0.25) == report::Rgb{0, 128, 0});
  CHECK(report::from_hsl(240, 1, 0.5) == report::Rgb{0, 0, 255});
  CHECK(report::from_hsl(77, 0, 0.2) == report::Rgb{51, 51, 51});
  CHECK(report::css({1, 0xAB, 255}) == "#01abff");
  for (const Index count : {1, 8, 9, 21, 150}) {
    std::set<report::Rgb> colours;
    for (Index i = 0; i < count; ++i) colours.insert(report::colour_of(i, count));
    CHECK(std::ssize(colours) == count);
  }
}

TEST_CASE("overlay of classes by hand") {
  const Image mask = grey(1, 3, {0, 1, 255});
  const Image picture = report::class_overlay(grey(1, 3, {100, 200, 50}), mask, 2, 255, 0.5);
  const report::Rgb first = report::colour_of(0, 2), second = report::colour_of(1, 2);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    CHECK(picture.pixels()[channel] == std::lround((100 + first[channel]) / 2.));
    CHECK(picture.pixels()[3 + channel] == std::lround((200 + second[channel]) / 2.));
    CHECK(picture.pixels()[6 + channel] == 25);
  }
  CHECK_THROWS_AS(report::class_overlay(grey(1, 3, {1, 2, 3}), mask, 1, 255), Error);
  CHECK(contains(error_of([&] { report::class_overlay(grey(3, 1, {1, 2, 3}), mask, 2, 255); }), "a mask of 1 x 3"));
}

TEST_CASE("page of segmentations") {
  const TemporaryFolder folder;
  SegmentationReport report{.title = "streets <1>", .class_names = names};
  report.images.push_back({"a\"b.png", grey(1, 2, {1, 2}), grey(1, 2, {0, 1}), grey(1, 2, {0, 255})});
  report.images.push_back({"c.png", grey(1, 1, {1}), grey(1, 1, {0})});
  write_segmentation_report(folder / "page.html", report);
  std::ifstream stream(folder / "page.html");
  const std::string page = (std::ostringstream() << stream.rdbuf()).str();
  CHECK(page == segmentation_report_html(report));
  CHECK(contains(page, "road &amp; &lt;path&gt;"));
  CHECK(contains(page, "<h1>streets &lt;1&gt;</h1>"));
  CHECK(contains(page, "a&quot;b.png"));
  CHECK(!contains(page, "<path>"));
  CHECK(occurrences(page, "data:image/png;base64,") == 5);
  CHECK(occurrences(page, "true classes</h3>") == 1);
  CHECK_THROWS_AS(segmentation_report_html({.title = "none", .class_names = {}}), Error);
}

TEST_CASE("page of detections: the best box on top, names escaped, truth dashed") {
  DetectionReport report{.title = "cells", .class_names = names};
  report.images.push_back({"<i>.png", grey(1, 480, std::vector<int>(480)), {}, {}});
  report.images.front().detections = {{{10, 0, 20, 1}, 1, 0.9}, {{5, 0, 2.5, 1}, 0, 0.25}};
  report.images.front().truth = {{{1, 0, 3, 1}, 0, 3}};
  const std::string page = detection_report_html(report);
  CHECK(contains(page, "&lt;i&gt;.png"));
  CHECK(!contains(page, "<i>"));
  CHECK(contains(page, "road &amp; &lt;path&gt; 25%</text>"));
  CHECK(contains(page, "car 90%</text>"));
  CHECK(page.find("car 90%") > page.find("25%</text>"));
  CHECK(contains(page, "<rect x=\"10\" y=\"0\" width=\"20\" height=\"1\" class=\"box\" stroke=\"#56b4e9\"/>"));
  CHECK(occurrences(page, "class=\"box truth\"") == 1);
  report.images.front().detections[0].category = 2;
  CHECK(contains(error_of([&] { detection_report_html(report); }), "class from 0 to 1, found 2"));
  report.images.front().detections[0] = {{}, 0, std::nan("")};
  CHECK_THROWS_AS(detection_report_html(report), Error);
}

TEST_CASE("detections as JSON") {
  const std::vector<Detection> detections{{{1, 2, 3.5, 4}, 1, 0.5}, {{0, 0, 1, 1}, 7, 1}};
  const auto json = detections_as_json("a.png", detections, names);
  CHECK(json.dump() == R"({"image":"a.png","detections":[{"class":1,"name":"car","score":0.5,"box":[1.0,2.0,3.5,4.0]},)"
                       R"({"class":7,"name":"","score":1.0,"box":[0.0,0.0,1.0,1.0]}]})");
  CHECK(detections_as_json("a.png", {}, names).dump() == R"({"image":"a.png","detections":[]})");
  CHECK(contains(json_text(detections_as_json("\xFF.png", {}, names)), "\xEF\xBF\xBD.png"));
  const std::vector<Detection> endless{{{1, 2, INFINITY, 4}, 1, 0.5}};
  CHECK(contains(error_of([&] { detections_as_json("a.png", endless, names); }), "a.png, detection 0"));
}

TEST_CASE("segmentation as JSON") {
  const auto json = segmentation_as_json("a.png", grey(1, 5, {1, 1, 255, 0, 1}), names);
  CHECK(json.at("ignored_pixels") == 1);
  CHECK(json.at("classes").dump() == R"([{"class":0,"name":"road & <path>","pixels":1,"share":0.25},)"
                                     R"({"class":1,"name":"car","pixels":3,"share":0.75}])");
  CHECK(segmentation_as_json("a.png", grey(1, 1, {9}), names, 9).at("classes").at(0).at("share") == 0.);
  CHECK(contains(error_of([&] { segmentation_as_json("a.png", grey(1, 2, {0, 2}), names); }), "column 1"));
}
