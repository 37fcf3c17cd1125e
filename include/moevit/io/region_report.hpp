/// Writes a routing report of a dense task: one HTML page that shows which expert took which region of each image, at
/// each stage. Component `image`.
#pragma once

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/report/page.hpp>
#include <moevit/io/report/region_pictures.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// An image and where its regions went.
struct RoutedImage {
  std::string name;
  Image pixels;                      ///< in any size
  MapSize seen;                      ///< in which size the model saw it
  std::vector<BlockRegions> blocks;  ///< region_routing()
};

/// What a page of regions shows.
struct RegionReport {
  std::string title;
  std::string lead;                  ///< a sentence or two below the title
  std::vector<RegionCounts> totals;  ///< add_regions() over all images, of which the page may show some
  std::vector<RoutedImage> images = {};
  std::string footer = {};
};

namespace report {

/// An expert's number on its colour.
inline std::string expert_chip(Index expert, Index experts) {
  return join("<span class=\"chip\" style=\"background:", expert_colour(expert, experts), "\">", expert, "</span>");
}

/// What each expert took, as a share of all places of a block: rows are experts, columns blocks.
inline std::string region_table(const std::vector<RegionCounts>& blocks) {
  std::string table = "<div class=\"card scroll\"><table><thead><tr><th>expert</th>";
  for (const RegionCounts& block : blocks)
    table += join("<th class=\"number\">", escape(block.where.name()), "</th><th class=\"number\">places</th>");
  table += "</tr></thead><tbody>";
  const auto add_row = [&](const std::string& name, auto count_of) {
    table += join("<tr><td>", name, "</td>");
    for (const RegionCounts& block : blocks) {
      const Index all = RouterStatistics::sum(block.by_expert), count = count_of(block);
      const double share = static_cast<double>(count) / static_cast<double>(std::max<Index>(all, 1));
      table += join("<td class=\"number\">", percent(share), "</td><td class=\"number\">", grouped(count), "</td>");
    }
    table += "</tr>";
  };
  const Index experts = blocks.front().where.experts;
  for (Index expert = 0; expert < experts; ++expert)
    add_row(expert_chip(expert, experts),
            [&](const RegionCounts& block) { return block.by_expert.at(static_cast<std::size_t>(expert)); });
  add_row("none", [](const RegionCounts& block) { return block.by_expert.back(); });
  return table + "</tbody></table></div>";
}

/// The experts that took most of an image's map, most first: "2 41%, 0 30%".
inline std::string largest_regions(const BlockRegions& block) {
  constexpr std::size_t most = 6;
  const std::vector<Index> counts = block.counts();
  std::vector<std::pair<Index, Index>> experts;  // - places, expert
  for (Index expert = 0; expert < block.where.experts; ++expert)
    if (const Index places = counts[static_cast<std::size_t>(expert)]; places > 0)
      experts.emplace_back(-places, expert);
  std::sort(experts.begin(), experts.end());
  std::string text;
  for (std::size_t i = 0; i < std::min(most, experts.size()); ++i)
    text += join(i ? ", " : "", experts[i].second, " ",
                 percent(static_cast<double>(-experts[i].first) / static_cast<double>(block.map.places()), 0));
  return text;
}

/// An image, and beside it once more for every sparse block.
inline void write_regions(Page& page, const RoutedImage& image) {
  page.add(join("<h3>", escape(image.name), "</h3>"));
  page.open_cards();
  page.card("image", image_picture(image.pixels, image.name));
  for (const BlockRegions& block : image.blocks)
    page.card(block.where.name(),
              region_picture(image.pixels, image.seen, block, image.name + ", " + block.where.name()),
              join(block.map.height, " x ", block.map.width, " places; most by expert: ", largest_regions(block)));
  page.close_cards();
}

}  // namespace report

/// The page as HTML. Throws Error when it shows no sparse block or blocks of different numbers of experts, and when
/// pixels cannot be encoded.
inline std::string region_report_html(const RegionReport& report) {
  if (report.totals.empty())
    fail("routing report '", report.title, "': expected a model with sparse blocks that has seen an image, found none");
  const Index experts = report.totals.front().where.experts;
  for (const RegionCounts& block : report.totals)
    if (block.where.experts != experts || std::ssize(block.by_expert) != experts + 1)
      fail("routing report '", report.title, "': ", block.where.name(), ": expected ", experts,
           " experts, as in the first block, found ", block.where.experts);
  report::Page page(report.title);
  page.add(report::join("<h1>", report::escape(report.title), "</h1>\n<p class=\"lead\">", report::escape(report.lead),
                        "</p>"));
  page.section("regions", "Which expert took which region",
               "Each place of a stage's map lies over the pixels it stands for, in the colour of the expert with its "
               "largest gate. Blocks and stages are counted from 0.");
  std::vector<std::string> entries;
  for (Index expert = 0; expert < experts; ++expert)
    entries.push_back(report::legend_entry(report::expert_colour(expert, experts), std::to_string(expert)));
  entries.push_back(report::legend_entry("#000", "dropped, no expert computed it: dimmed in the pictures"));
  page.add(report::legend(entries));
  for (const RoutedImage& image : report.images) report::write_regions(page, image);
  page.section("shares", "What each expert took", "Shares of the places of a block, over all images.");
  page.add(report::region_table(report.totals));
  page.add(report::join("<footer>", report::escape(report.footer), "</footer>"));
  return std::move(page).finish();
}

/// Writes the page; the file appears whole or not at all. Throws Error.
inline void write_region_report(const std::filesystem::path& path, const RegionReport& report) {
  write_file(path, region_report_html(report));
}

}  // namespace moevit
