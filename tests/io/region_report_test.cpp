// Routing reports of dense tasks: places by hand and against the plans of models, pages.
#include <moevit/io/region_report.hpp>

#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"
#include "models/small_dense_models.hpp"

#include <moevit/models/cvt.hpp>

#include <fstream>
#include <sstream>

using namespace moevit;
using namespace moevit::test;

namespace {

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// A map of 2 x 3 places, 4 pixels apart, and three experts.
BlockRegions by_hand() {
  return {{5, 1, 4, 3}, {2, 3}, {{0, 2, 2, 1, -1, 0}, {false, false, false, false, true, true}}};
}

Image grey(Index height, Index width) {
  Image image(height, width, 1);
  std::fill_n(image.row(0), height * width, std::uint8_t{100});
  return image;
}

RegionReport report_by_hand() {
  RegionReport report{.title = "a <title>", .lead = "one & only", .totals = {}};
  report.images.push_back({"i<1>.png", grey(8, 12), {8, 12}, {by_hand()}});
  add_regions(report.images.front().blocks, report.totals);
  return report;
}

/// The regions of `count` random images, one pass, image by image.
template <class Net>
std::vector<std::vector<BlockRegions>> regions_of(const Net& net, Index count, MapSize size, Index capacity_percent,
                                                  Context& context) {
  const std::vector<float> images = random_images(count, size, Net::channels, 4);
  if (capacity_percent) context.routing.capacity_ratio = static_cast<double>(capacity_percent) / 100;
  std::vector<float> outputs(static_cast<std::size_t>(Net::output_values(count, size)));
  net.forward(images, size, outputs, context);
  std::vector<std::vector<BlockRegions>> all;
  for (Index image = 0; image < count; ++image) all.push_back(region_routing<Net>(context, size, image, count));
  return all;
}

template <class Net>
void check_regions_are_those_of_plans(int block, Index stage, Index stride, MapSize smallest = {1, 1}) {
  Net net;
  randomise(net.parameters(), 1);
  for (const MapSize size : {MapSize{16, 16}, MapSize{13, 22}, smallest})
    for (const Index capacity_percent : {0, 30}) {
      CAPTURE(size.height, size.width, capacity_percent);
      constexpr Index count = 3;
      Context context = net.context({.images = count}, size);
      const auto all = regions_of(net, count, size, capacity_percent, context);
      const MapSize map = Net::map_sizes(size)[static_cast<std::size_t>(stage)];
      std::vector<int> expected(static_cast<std::size_t>(count * map.places()), -1);
      std::vector<float> gates(expected.size(), -1.f);
      std::vector<bool> kept(expected.size());
      for (const Choice& choice : context.plan(block).choices()) {
        const auto token = static_cast<std::size_t>(choice.token);
        if (choice.slot >= 0) kept[token] = true;
        if (choice.gate > gates[token]) gates[token] = choice.gate, expected[token] = choice.expert;
      }
      for (std::size_t image = 0; image < count; ++image) {
        REQUIRE(all[image].size() == 1);
        const BlockRegions& found = all[image].front();
        CHECK(found.where.block == block);
        CHECK(found.where.stage == stage);
        CHECK(found.where.stride == stride);
        CHECK(found.map == map);
        Index places = 0;
        for (const Index of_expert : found.counts()) places += of_expert;
        CHECK(places == map.places());
        for (std::size_t place = 0; place < static_cast<std::size_t>(map.places()); ++place) {
          const std::size_t token = image * static_cast<std::size_t>(map.places()) + place;
          CHECK(found.places.expert[place] == expected[token]);
          CHECK(found.places.dropped[place] != kept[token]);
        }
      }
    }
}

inline constexpr CvtConfig cvt_maps{.image = 16,
                                    .channels = 2,
                                    .depths = {1, 2, 1, 0},
                                    .dims = {8, 8, 16, 0},
                                    .heads = {1, 2, 2, 0},
                                    .classes = 0,
                                    .class_token = false};
struct CvtDetector : Detector<Cvt<cvt_maps, one_sparse_block>, small_fcos> {};

}  // namespace

TEST_CASE("regions are the choices of the plans, of each image in its map") {
  check_regions_are_those_of_plans<SparseSegmenter>(2, 1, 4);
  check_regions_are_those_of_plans<SparseDetector>(2, 1, 4);
  check_regions_are_those_of_plans<CvtDetector>(2, 1, 8, {3, 3});  // its first convolution needs that
}

TEST_CASE("blocks know their stages") {
  CHECK(SmallBackbone::stage_of(0) == 0);
  CHECK(SmallBackbone::stage_of(1) == 1);
  CHECK(SmallBackbone::stage_of(2) == 1);
  CHECK(SmallBackbone::stage_of(3) == 2);
  CHECK(region_blocks<SmallSegmenter>().empty());
}

TEST_CASE("regions of images that were not in the last pass are refused") {
  SparseSegmenter net;
  randomise(net.parameters(), 1);
  constexpr MapSize size{9, 9};
  Context context = net.context({.images = 2}, size);
  CHECK_THROWS_AS(region_routing<SparseSegmenter>(context, size, 0, 2), Error);
  regions_of(net, 2, size, 0, context);
  CHECK(region_routing<SparseSegmenter>(context, size, 1, 2).size() == 1);
  CHECK(contains(error_of([&] { region_routing<SparseSegmenter>(context, size, 2, 2); }), "found image 2"));
  CHECK_THROWS_AS(region_routing<SparseSegmenter>(context, size, 0, 1), Error);
  CHECK_THROWS_AS(region_routing<SparseSegmenter>(context, {20, 9}, 0, 2), Error);
}

TEST_CASE("places by hand: counts, totals, the mask over the pixels of a picture") {
  const BlockRegions block = by_hand();
  CHECK(block.counts() == std::vector<Index>{1, 1, 2, 2});
  std::vector<RegionCounts> totals;
  add_regions(std::vector{block}, totals);
  add_regions(std::vector{block}, totals);
  REQUIRE(totals.size() == 1);
  CHECK(totals.front().by_expert == std::vector<Index>{2, 2, 4, 4});
  CHECK_THROWS_AS(add_regions(std::vector{block, block}, totals), Error);

  using report::no_expert;
  const auto row_of = [&](MapSize picture, MapSize seen, Index row) {
    const Image mask = report::region_mask(picture, seen, block);
    return std::vector<int>(mask.row(row), mask.row(row) + picture.width);
  };
  CHECK(row_of({8, 12}, {8, 12}, 3) == std::vector<int>{0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2});
  CHECK(row_of({8, 12}, {8, 12}, 4) == std::vector<int>{1, 1, 1, 1, no_expert, no_expert, no_expert, no_expert,
                                                        no_expert, no_expert, no_expert, no_expert});
  CHECK(row_of({7, 10}, {7, 10}, 3) == std::vector<int>{0, 0, 0, 0, 2, 2, 2, 2, 2, 2});  // places stand over
  CHECK(row_of({2, 6}, {8, 12}, 0) == std::vector<int>{0, 0, 2, 2, 2, 2});               // half as large as seen
  CHECK(row_of({1, 1}, {8, 12}, 0) == std::vector<int>{no_expert});
  BlockRegions many = block;
  many.where.experts = 256;
  CHECK(contains(error_of([&] { report::region_mask({1, 1}, {1, 1}, many); }), "at most 255 experts"));
}

TEST_CASE("the page of regions has each image once per sparse block, names escaped, shares of all") {
  const TemporaryFolder folder;
  const RegionReport report = report_by_hand();
  write_region_report(folder / "page.html", report);
  std::ifstream stream(folder / "page.html");
  const std::string page = (std::ostringstream() << stream.rdbuf()).str();
  CHECK(page == region_report_html(report));
  CHECK(occurrences(page, "data:image/png;base64,") == 2);
  CHECK(contains(page, "<h3>i&lt;1&gt;.png</h3>"));
  CHECK(contains(page, "<h1>a &lt;title&gt;</h1>"));
  CHECK(contains(page, "one &amp; only"));
  CHECK(contains(page, "<h3>block 5, stage 1</h3>"));
  CHECK(contains(page, "2 x 3 places; most by expert: 2 33%, 0 17%, 1 17%"));
  CHECK(occurrences(page, "<tr><td>") == 4);
  CHECK(contains(page, "<td>none</td><td class=\"number\">33.3%</td><td class=\"number\">2</td>"));
}

TEST_CASE("pages without sparse blocks or with blocks that do not go together are refused") {
  RegionReport report = report_by_hand();
  report.totals.push_back({{6, 2, 8, 4}, std::vector<Index>(5)});
  CHECK(contains(error_of([&] { region_report_html(report); }), "block 6, stage 2: expected 3 experts"));
  report.totals.clear();
  CHECK(contains(error_of([&] { region_report_html(report); }), "a model with sparse blocks"));
}
