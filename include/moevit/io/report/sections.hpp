/// The sections of a routing report.
#pragma once

#include <moevit/io/report/charts.hpp>
#include <moevit/io/report/gallery.hpp>
#include <moevit/io/report/line_chart.hpp>
#include <moevit/io/report/page.hpp>
#include <moevit/io/report/report_data.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace moevit::report {

inline void write_header(Page& page, const RoutingReport& report) {
  page.add(join("<h1>", escape(report.title), "</h1>\n<p class=\"lead\">", escape(report.lead),
                "</p>\n<div class=\"tiles\">"));
  for (const auto& [value, meaning] : report.facts)
    page.add(join("<div class=\"tile\"><b>", escape(value), "</b><span>", escape(meaning), "</span></div>"));
  page.add("</div>");
}

inline void write_load(Page& page, const RoutingReport& report) {
  const std::string things = report.routers.front().per_image ? "images" : "tokens";
  page.section(
      "load", "Load of the experts, before and after capacity",
      join("How many ", things,
           " asked for each expert, and how many of them found a slot in its buffer. The rest was dropped: the "
           "residual connection carries it past the experts."));
  page.add(legend({legend_entry("outline", "asked for the expert"),
                   legend_entry("var(--accent)", "kept (in the expert's colour)"),
                   legend_entry("limit", "slots of an expert"), legend_entry("even", "an even split")}));
  page.open_cards();
  for (const RouterStatistics& router : report.routers) {
    std::string caption =
        join(grouped(router.all_demand()), " choices of ", grouped(router.decisions), " ", things, ", ",
             grouped(router.all_kept()), " kept, ", percent(router.dropped_share()), " dropped. ");
    caption += router.slots ? join(grouped(router.slots), " slots per expert over all groups.")
                            : std::string("Buffers without a limit.");
    page.card(router.name(), load_chart(router), caption);
  }
  page.close_cards();
}

/// Classes by what they send where, the most specialised ones where there are too many to show.
inline std::vector<HeatRow> class_rows(const RouterStatistics& router, const std::vector<std::string>& names) {
  constexpr std::size_t most_rows = 40;
  std::vector<HeatRow> rows;
  for (std::size_t number = 0; number < router.by_class.size(); ++number) {
    const Index all = RouterStatistics::sum(router.by_class[number]);
    if (all == 0) continue;
    HeatRow row{number < names.size() ? names[number] : std::to_string(number), {}, all};
    for (const Index count : router.by_class[number])
      row.shares.push_back(static_cast<double>(count) / static_cast<double>(all));
    rows.push_back(std::move(row));
  }
  if (rows.size() <= most_rows) return rows;
  const auto peak = [](const HeatRow& row) { return *std::max_element(row.shares.begin(), row.shares.end()); };
  std::stable_sort(rows.begin(), rows.end(), [&](const HeatRow& a, const HeatRow& b) { return peak(a) > peak(b); });
  rows.resize(most_rows);
  return rows;
}

/// Share of the choices that go where most choices of their class go.
inline double home_share(const RouterStatistics& router) {
  Index home = 0, all = 0;
  for (const auto& counts : router.by_class) {
    home += *std::max_element(counts.begin(), counts.end());
    all += RouterStatistics::sum(counts);
  }
  return all ? static_cast<double>(home) / static_cast<double>(all) : 0.0;
}

inline void write_classes(Page& page, const RoutingReport& report) {
  page.section(
      "classes", "Classes and experts",
      join("Each row shows where the choices of one class's images go, in percent, before capacity. The fullest colour "
           "of a map is its "
           "largest share. Experts that specialise stand out; an even row means that the class plays no part in the "
           "routing.",
           report.classes_are_predicted ? " The images have no labels: they count by the class that the model predicts."
                                        : "",
           report.class_names.size() > 40 ? " Of the classes the 40 most specialised are shown." : ""));
  page.open_cards();
  for (const RouterStatistics& router : report.routers)
    page.card(
        router.name(),
        heat_map(class_rows(router, report.class_names), router.experts, "Classes and experts of " + router.name()),
        join(percent(home_share(router)),
             router.per_image ? " of the images go to the expert that most images of their class go to."
                              : " of the choices go to the expert that most choices of their class go to."));
  page.close_cards();
}

inline void write_gates(Page& page, const RoutingReport& report) {
  page.section("gates", "How sure the routers are",
               "The distribution of the largest and the second largest gate over all decisions, before capacity. A "
               "router that does not care "
               "gives every expert the same gate; one that is sure has its largest gate near 1 and the second near 0. "
               "The entropy of the gates says "
               "the same in one number: 0 is sure, 1 is indifferent.");
  page.add(
      legend({legend_entry("var(--accent)", "largest gate"), legend_entry("var(--second)", "second largest gate")}));
  page.open_cards();
  for (const RouterStatistics& router : report.routers) {
    page.card(router.name() + ": gates",
              histogram_chart(router.first_gate, &router.second_gate, "Gates of " + router.name()),
              join("Mean of the largest gate ", number(router.first_gate.mean(), 3), ", of the second ",
                   number(router.second_gate.mean(), 3), "; 1/E is ",
                   number(1.0 / static_cast<double>(router.experts), 3), "."));
    page.card(router.name() + ": entropy",
              histogram_chart(router.entropy, nullptr, "Entropy of the gates of " + router.name()),
              join("Mean ", number(router.entropy.mean(), 3), "."));
  }
  page.close_cards();
}

inline void write_capacity(Page& page, const RoutingReport& report) {
  page.section("capacity", "Accuracy against capacity",
               join("Smaller buffers compute less and drop more. Vanilla routing serves tokens in the order of their "
                    "position; batch priority serves those "
                    "with the largest gates first, so that what is dropped matters least. ",
                    escape(report.capacity_setting)));
  page.add(legend({legend_entry("var(--accent)", "batch priority"), legend_entry("var(--second)", "vanilla"),
                   legend_entry("even", join("nothing dropped: ", percent(report.unlimited_accuracy, 2)))}));
  page.open_cards();
  page.card("Top-1 accuracy", capacity_chart(report.capacity, report.unlimited_accuracy));
  std::string table =
      "<table><thead><tr><th class=\"number\">ratio</th><th class=\"number\">vanilla</th><th class=\"number\">batch "
      "priority</th>"
      "<th class=\"number\">dropped</th></tr></thead><tbody>";
  for (const CapacityPoint& point : report.capacity)
    table += join("<tr><td class=\"number\">", number(point.ratio, 3), "</td><td class=\"number\">",
                  fixed(100 * point.accuracy_by_position, 2), "%</td><td class=\"number\">",
                  fixed(100 * point.accuracy_by_gate, 2), "%</td><td class=\"number\">",
                  fixed(100 * point.dropped_by_gate, 1), "%</td></tr>");
  page.card("In numbers", table + "</tbody></table>");
  page.close_cards();
}

inline void write_positions(Page& page, const RoutingReport& report) {
  page.section("positions", "Experts, positions and images",
               "Where on the image the patches of each expert lie (full colour: its most frequent position), and how "
               "many experts computed any token of an image.");
  page.open_cards();
  const Index columns = report.model.vit.grid_columns();
  for (const RouterStatistics& router : report.routers) {
    std::string maps = "<div class=\"row\">";
    for (Index expert = 0; expert < router.experts; ++expert)
      maps += join("<figure>", position_map(router, expert, columns), "<figcaption>", expert, "</figcaption></figure>");
    page.card(router.name() + ": positions by expert", maps + "</div>");
    page.card(router.name() + ": experts per image",
              count_chart(router.distinct, 0, "Images by the number of experts that computed them"));
  }
  page.close_cards();
}

}  // namespace moevit::report
