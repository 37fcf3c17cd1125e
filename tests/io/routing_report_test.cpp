// Routing reports: statistics counted by hand and against the plan, markup that is safe, a page with 64 experts.
#include "catch.hpp"
#include "io/temporary_folder.hpp"
#include "random_values.hpp"

#include <moevit/io/png.hpp>
#include <moevit/io/routing_report.hpp>
#include <moevit/moevit.hpp>

#include <fstream>
#include <string>
#include <vector>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr VitConfig wide{
    .image = 112, .patch = 8, .channels = 3, .dim = 32, .depth = 3, .heads = 2, .hidden = 32, .classes = 50};
struct Wide : VMoe<wide, MoeConfig{.experts = 64, .selected = 2, .placement = last(2)}> {};
struct PerImage : MobileVMoe<wide, MoeConfig{.experts = 5, .selected = 1, .placement = last(2)}> {};

constexpr Index images = 4;

/// A forward pass of random images through random weights.
template <class Net>
Context run(double capacity) {
  Net net;
  randomise(net.parameters(), 1);
  Context context = net.context({.images = images});
  context.routing.capacity_ratio = capacity;
  std::vector<float> logits(images * wide.classes);
  net.forward(normal_values(images * wide.image_values(), 2), logits, context);
  return context;
}

const std::vector<Index> classes{3, 3, 49, -1};

Image gradient(Index side) {
  Image image(side, side, 3);
  for (Index i = 0; i < side * side * 3; ++i) image.row(0)[i] = static_cast<std::uint8_t>(i * 7 % 256);
  return image;
}

/// The whole report of a pass, as routing_report would fill it.
RoutingReport report_of(const ModelDescription& model, const Context& context) {
  report::RoutingStatistics statistics(model, wide.classes);
  statistics.add(context, classes);
  RoutingReport result;
  result.title = "<b>64 & more";
  result.model = model;
  result.facts = {{"4", "images"}};
  result.class_names = {"zero", "one", "two", "<i>three</i>"};
  result.routers.assign(statistics.routers().begin(), statistics.routers().end());
  for (Index image = 0; image < images; ++image) {
    ReportImage shown{gradient(112), "image \"" + std::to_string(image) + "\"", true, {}, {}};
    for (const int block : {1, 2}) shown.routing.push_back(report::patch_routing(context, block, image, images, wide));
    if (model.family == ModelFamily::vmoe) shown.dropped.push_back({"0.5, vanilla", shown.routing.back().dropped});
    result.images.push_back(std::move(shown));
  }
  if (model.family == ModelFamily::vmoe) result.capacity = {{0.5, 0.4, 0.5, 0.3, 0.3}, {1.0, 0.6, 0.6, 0.1, 0.1}};
  return result;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("base64 encodes the examples of RFC 4648") {
  const auto encoded = [](const std::string& text) {
    return report::base64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  };
  CHECK(encoded("") == "");
  CHECK(encoded("f") == "Zg==");
  CHECK(encoded("fo") == "Zm8=");
  CHECK(encoded("foo") == "Zm9v");
  CHECK(encoded("foobar") == "Zm9vYmFy");
}

TEST_CASE("an encoded PNG decodes to the same pixels") {
  const Image image = gradient(9);
  const Image back = decode_png(report::encode_png(image));
  REQUIRE(back.channels() == 3);
  CHECK(std::vector<std::uint8_t>(back.pixels().begin(), back.pixels().end()) ==
        std::vector<std::uint8_t>(image.pixels().begin(), image.pixels().end()));
}

TEST_CASE("numbers and names are written for readers, and safely") {
  CHECK(report::escape("<a href=\"x\">'&\n") == "&lt;a href=&quot;x&quot;&gt;&#39;&amp;?");
  CHECK(report::number(12.50, 2) == "12.5");
  CHECK(report::number(-0.001, 1) == "0");
  CHECK(report::number(300, 0) == "300");
  CHECK(report::grouped(1234567) == "1,234,567");
  CHECK(report::grouped(-123) == "-123");
  CHECK(report::percent(0.125) == "12.5%");
  CHECK(report::shortened("Gr\xc3\xbc\xc3\x9f", 3) == "Gr…");  // not in the middle of a letter
}

TEST_CASE("a histogram counts its ends and remembers the mean") {
  report::Histogram histogram;
  for (const double value : {0.0, 0.049, 0.05, 1.0}) histogram.add(value);
  CHECK(histogram.counts[0] == 2);
  CHECK(histogram.counts[1] == 1);
  CHECK(histogram.counts[19] == 1);
  CHECK(histogram.mean() == Approx(1.099 / 4));
}

TEST_CASE("statistics agree with the plans they were gathered from") {
  const Context context = run<Wide>(0.5);
  report::RoutingStatistics statistics(Wide{}.description(), wide.classes);
  statistics.add(context, classes);
  statistics.add(context, classes);
  REQUIRE(statistics.routers().size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const report::RouterStatistics& router = statistics.routers()[i];
    const SparsePlan& plan = context.plan(static_cast<int>(i) + 1);
    CHECK_FALSE(router.per_image);
    CHECK(router.decisions == 2 * images * wide.tokens());
    CHECK(router.slots == 2 * plan.capacity());
    for (int expert = 0; expert < 64; ++expert) {
      CHECK(router.demand[static_cast<std::size_t>(expert)] == 2 * plan.demand(expert));
      CHECK(router.kept[static_cast<std::size_t>(expert)] == 2 * plan.kept(expert));
    }
    CHECK(router.dropped_share() > 0);
    CHECK(report::RouterStatistics::sum(router.by_class[3]) ==
          2 * 2 * 2 * wide.tokens());  // runs, images, experts per token
    CHECK(report::RouterStatistics::sum(router.by_class[49]) == 2 * 2 * wide.tokens());
    CHECK(report::RouterStatistics::sum(router.by_class[0]) == 0);
    CHECK(report::RouterStatistics::sum(router.by_position[0]) == 2 * 2 * images);
    CHECK(report::RouterStatistics::sum(router.distinct) == 2 * images);
    CHECK(router.first_gate.mean() > router.second_gate.mean());
  }
}

TEST_CASE("one router of a whole model counts images and names all its blocks") {
  report::RoutingStatistics statistics(PerImage{}.description(), wide.classes);
  statistics.add(run<PerImage>(unlimited), classes);
  REQUIRE(statistics.routers().size() == 1);
  const report::RouterStatistics& router = statistics.routers().front();
  CHECK(router.per_image);
  CHECK(router.name() == "blocks 1, 2");
  CHECK(router.decisions == images);
  CHECK(router.all_demand() == images);
  CHECK(router.all_kept() == images);
  CHECK(router.slots == 0);
  CHECK(router.distinct[1] == images);
}

TEST_CASE("patches are coloured by their largest gate and blank where nothing was kept") {
  const Context context = run<Wide>(0.25);
  const SparsePlan& plan = context.plan(1);
  const report::PatchRouting routing = report::patch_routing(context, 1, 2, images, wide);
  std::size_t dropped = 0;
  for (Index patch = 0; patch < wide.patches(); ++patch) {
    const auto token = static_cast<int>(2 * wide.tokens() + 1 + patch);  // the class token stands in front
    CHECK(routing.expert[static_cast<std::size_t>(patch)] ==
          plan.choices()[static_cast<std::size_t>(2 * token)].expert);
    CHECK(routing.dropped[static_cast<std::size_t>(patch)] == plan.rows_of_token(token).empty());
    dropped += routing.dropped[static_cast<std::size_t>(patch)];
  }
  CHECK(dropped > 0);
}

TEST_CASE("a report of 64 experts is one whole page") {
  const TemporaryFolder folder;
  write_routing_report(folder / "report.html", report_of(Wide{}.description(), run<Wide>(0.5)));
  std::ifstream stream(folder / "report.html", std::ios::binary);
  const std::string html{std::istreambuf_iterator<char>(stream), {}};
  CHECK(html.starts_with("<!DOCTYPE html>"));
  CHECK(html.ends_with("</html>\n"));
  CHECK(count(html, "data:image/png;base64,") == images);
  for (const char* tag : {"svg", "table", "div", "figure", "g", "p"}) {
    INFO(tag);
    const std::string name = tag;
    CHECK(count(html, "<" + name + " ") + count(html, "<" + name + ">") == count(html, "</" + name + ">"));
  }
  CHECK(html.find("<b>64") == std::string::npos);
  CHECK(html.find("<i>three") == std::string::npos);
  CHECK(html.find("nan") == std::string::npos);
}

TEST_CASE("the colours of experts differ") {
  for (const Index experts : {8, 64})
    for (Index a = 0; a < experts; ++a)
      for (Index b = 0; b < a; ++b) CHECK(report::expert_colour(a, experts) != report::expert_colour(b, experts));
}

TEST_CASE("a report without a router is refused") { CHECK_THROWS_AS(routing_report_html(RoutingReport{}), Error); }
