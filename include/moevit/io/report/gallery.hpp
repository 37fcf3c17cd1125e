/// The galleries of a routing report: patches by expert for routers of patches, images by expert for routers of images.
#pragma once

#include <moevit/io/report/page.hpp>
#include <moevit/io/report/pictures.hpp>
#include <moevit/io/report/png_data_uri.hpp>
#include <moevit/io/report/report_data.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace moevit::report {

namespace detail {

inline PatchGrid grid_of(const RoutingReport& report) {
  return {report.model.vit.grid_rows(), report.model.vit.grid_columns()};
}

inline std::string image_id(std::size_t number) { return "image" + std::to_string(number); }

/// The pixels of all images and the pattern of blanked patches, for the drawings that follow.
inline void define_images(Page& page, const RoutingReport& report) {
  std::string definitions =
      "<svg width=\"0\" height=\"0\" style=\"position:absolute\" aria-hidden=\"true\"><defs>"
      "<pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
      "<line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"5\" stroke=\"var(--hatch)\" stroke-width=\"2\"/></pattern>";
  for (std::size_t i = 0; i < report.images.size(); ++i)
    definitions += image_definition(image_id(i), png_data_uri(report.images[i].pixels), grid_of(report));
  page.add(definitions + "</defs></svg>");
}

inline std::string expert_legend(Index experts) {
  std::vector<std::string> entries;
  for (Index expert = 0; expert < experts; ++expert)
    entries.push_back(legend_entry(expert_colour(expert, experts), std::to_string(expert)));
  entries.push_back(legend_entry("blank", "dropped: no expert computed the patch"));
  return legend(entries);
}

/// The classes that make up most of an expert's images, each with its share of them.
inline std::string main_classes(const RouterStatistics& router, Index expert, const std::vector<std::string>& names) {
  std::vector<std::pair<Index, std::size_t>> counts;  // images, class
  Index all = 0;
  for (std::size_t number = 0; number < router.by_class.size(); ++number) {
    const Index count = router.by_class[number][static_cast<std::size_t>(expert)];
    if (count > 0) counts.emplace_back(-count, number);
    all += count;
  }
  std::sort(counts.begin(), counts.end());
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(4, counts.size()); ++i) {
    const double share = static_cast<double>(-counts[i].first) / static_cast<double>(all);
    if (share < 0.005) break;
    const std::size_t number = counts[i].second;
    text += join(i ? "<br>" : "", shortened(number < names.size() ? names[number] : std::to_string(number), 20), " ",
                 percent(share, 0));
  }
  return text;
}

inline std::string caption_of(const ReportImage& image) {
  return join("<td", image.correct ? ">" : " class=\"wrong\">", escape(image.caption), "</td>");
}

}  // namespace detail

/// The images once more, at smaller capacity ratios.
inline void write_dropped(Page& page, const RoutingReport& report) {
  if (report.images.empty() || report.images.front().dropped.empty()) return;
  const PatchGrid grid = detail::grid_of(report);
  page.section("dropped", "What smaller buffers drop",
               join("The same images in ", report.routers.back().name(),
                    " at smaller capacity ratios: blanked patches found no slot at any of their experts."));
  std::string table = "<div class=\"card scroll\"><table class=\"pictures\"><thead><tr><th>image</th>";
  for (const DroppedPatches& dropped : report.images.front().dropped)
    table += join("<th>", escape(dropped.setting), "</th>");
  table += "</tr></thead><tbody>";
  for (std::size_t i = 0; i < report.images.size(); ++i) {
    table += join("<tr>", detail::caption_of(report.images[i]));
    for (const DroppedPatches& dropped : report.images[i].dropped)
      table += join("<td>",
                    dropped_picture(detail::image_id(i), grid, dropped.dropped,
                                    report.images[i].caption + ", " + dropped.setting),
                    "</td>");
    table += "</tr>";
  }
  page.add(table + "</tbody></table></div>");
}

/// Images with their patches coloured by expert in every sparse block, and what smaller buffers drop.
inline void write_patch_gallery(Page& page, const RoutingReport& report) {
  detail::define_images(page, report);
  const PatchGrid grid = detail::grid_of(report);
  page.section("patches", "Which expert took which patch",
               "Each patch has the colour and the number of the expert with its largest gate. A patch is blanked where "
               "all of its choices were dropped.");
  page.add(detail::expert_legend(report.routers.front().experts));
  page.open_cards();
  for (std::size_t i = 0; i < report.images.size(); ++i) {
    const ReportImage& image = report.images[i];
    const auto figure = [](const std::string& picture, const std::string& caption) {
      return join("<figure>", picture, "<figcaption>", caption, "</figcaption></figure>");
    };
    std::string pictures = figure(plain_picture(detail::image_id(i), grid, image.caption), "image");
    for (std::size_t router = 0; router < image.routing.size(); ++router) {
      const RouterStatistics& statistics = report.routers.at(router);
      pictures += figure(expert_picture(detail::image_id(i), grid, image.routing[router], statistics.experts,
                                        image.caption + ", " + statistics.name()),
                         statistics.name());
    }
    page.add(join("<div class=\"card\"><h3", image.correct ? ">" : " class=\"wrong\">", escape(image.caption),
                  "</h3><div class=\"row\">", pictures, "</div></div>"));
  }
  page.close_cards();
  write_dropped(page, report);
}

/// Images under the expert that was chosen for them.
inline void write_image_gallery(Page& page, const RoutingReport& report) {
  detail::define_images(page, report);
  const RouterStatistics& router = report.routers.front();
  page.section("images", "Which expert took which image",
               "The router decides once per image; all sparse blocks use that decision. Images are shown under the "
               "expert with their largest gate.");
  std::string table =
      "<div class=\"card scroll\"><table class=\"pictures\"><thead><tr><th>expert</th><th class=\"number\">share of "
      "images</th><th>classes</th><th>images</th></tr></thead><tbody>";
  for (Index expert = 0; expert < router.experts; ++expert) {
    const double share = static_cast<double>(router.demand[static_cast<std::size_t>(expert)]) /
                         static_cast<double>(std::max<Index>(router.decisions, 1));
    table += join("<tr><td><span class=\"chip\" style=\"background:", expert_colour(expert, router.experts), "\">",
                  expert, "</span></td><td class=\"number\">", percent(share), "</td><td>",
                  detail::main_classes(router, expert, report.class_names), "</td><td><div class=\"cards\">");
    for (std::size_t i = 0; i < report.images.size(); ++i) {
      const ReportImage& image = report.images[i];
      if (image.routing.empty() || image.routing.front().expert.empty() ||
          image.routing.front().expert.front() != expert)
        continue;
      table +=
          join("<figure>", plain_picture(detail::image_id(i), detail::grid_of(report), image.caption), "<figcaption",
               image.correct ? ">" : " class=\"wrong\">", escape(image.caption), "</figcaption></figure>");
    }
    table += "</div></td></tr>";
  }
  page.add(table + "</tbody></table></div>");
}

}  // namespace moevit::report
