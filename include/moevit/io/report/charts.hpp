/// The charts of a routing report: bars of load, heat maps, histograms and lines, as SVG.
#pragma once

#include <moevit/io/report/markup.hpp>
#include <moevit/io/report/palette.hpp>
#include <moevit/io/report/statistics.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace moevit::report {

/// One bar per expert: outlined what was asked of it, filled what it kept, dashed its slots, dotted an even split.
inline std::string load_chart(const RouterStatistics& router) {
  const double bar = router.experts <= 16 ? 34 : router.experts <= 32 ? 22 : 13;
  const double left = 64, top = 12, height = 170, width = left + bar * static_cast<double>(router.experts) + 12;
  const Index most = std::max({*std::max_element(router.demand.begin(), router.demand.end()), router.slots, Index{1}});
  const auto y_of = [&](double value) { return top + height * (1 - value / static_cast<double>(most)); };
  Drawing drawing(width, top + height + 26, "Load of the experts of " + router.name());
  for (const double part : {0.0, 0.5, 1.0}) {
    const double value = part * static_cast<double>(most);
    drawing.line(left, y_of(value), width, y_of(value), "class=\"grid\"");
    drawing.label(left - 8, y_of(value) + 4, grouped(static_cast<long long>(value + 0.5)), "class=\"end\"");
  }
  for (Index expert = 0; expert < router.experts; ++expert) {
    const auto i = static_cast<std::size_t>(expert);
    const double x = left + bar * static_cast<double>(expert) + 0.15 * bar;
    const auto wanted = static_cast<double>(router.demand[i]), kept = static_cast<double>(router.kept[i]);
    const std::string tip = join("expert ", expert, ": wanted by ", router.demand[i], ", kept ", router.kept[i],
                                 ", dropped ", router.demand[i] - router.kept[i]);
    drawing.rect(x, y_of(kept), 0.7 * bar, y_of(0) - y_of(kept),
                 join("fill=\"", expert_colour(expert, router.experts), "\""), tip);
    drawing.rect(x, y_of(wanted), 0.7 * bar, y_of(0) - y_of(wanted), "class=\"outline\"", tip);
    if (bar >= 20 || expert % 4 == 0)
      drawing.label(x + 0.35 * bar, top + height + 17, std::to_string(expert), "class=\"middle\"");
  }
  const double even = static_cast<double>(router.all_demand()) / static_cast<double>(router.experts);
  drawing.line(left, y_of(even), width, y_of(even), "class=\"even\"");
  if (router.slots)
    drawing.line(left, y_of(static_cast<double>(router.slots)), width, y_of(static_cast<double>(router.slots)),
                 "class=\"limit\"");
  return std::move(drawing).finish();
}

/// Rows of a heat map in the order they are shown, each with its shares by column.
struct HeatRow {
  std::string name;
  std::vector<double> shares;
  Index count = 0;
};

/// Shares by row and expert, from no colour (0) to full colour (the largest one). Cells name their share where there is
/// room.
inline std::string heat_map(const std::vector<HeatRow>& rows, Index experts, const std::string& label) {
  const double left = 128, top = 22, row_height = 24;
  const double cell = experts <= 12 ? 44 : experts <= 32 ? 24 : 14;
  Drawing drawing(left + cell * static_cast<double>(experts) + 2,
                  top + row_height * static_cast<double>(rows.size()) + 2, label);
  for (Index expert = 0; expert < experts; ++expert)
    if (cell >= 20 || expert % 4 == 0)
      drawing.label(left + cell * (static_cast<double>(expert) + 0.5), top - 7, std::to_string(expert),
                    "class=\"middle\"");
  double largest = 1e-9;
  for (const HeatRow& row : rows)
    for (const double share : row.shares) largest = std::max(largest, share);
  double y = top;
  for (const HeatRow& row : rows) {
    drawing.label(left - 8, y + 16, shortened(row.name, 17), "class=\"end name\"");
    for (std::size_t expert = 0; expert < row.shares.size(); ++expert) {
      const double x = left + cell * static_cast<double>(expert), share = row.shares[expert];
      drawing.rect(x + 0.5, y + 0.5, cell - 1, row_height - 1,
                   join("class=\"heat\" fill-opacity=\"", number(0.04 + 0.96 * share / largest, 3), "\""),
                   join(row.name, ", expert ", expert, ": ", percent(share)));
      if (cell >= 40 && share >= 0.005)
        drawing.label(x + cell / 2, y + 16, number(100 * share, 0),
                      share > 0.6 * largest ? "class=\"middle on-heat\"" : "class=\"middle small\"");
    }
    y += row_height;
  }
  return std::move(drawing).finish();
}

/// Two histograms over 0..1 in one frame, as shares of their values.
inline std::string histogram_chart(const Histogram& first, const Histogram* second, const std::string& label) {
  const double left = 44, top = 10, width = 300, height = 130, bin = width / static_cast<double>(Histogram::bins);
  Index most = 1;
  for (const Histogram* histogram : {&first, second})
    if (histogram) most = std::max(most, *std::max_element(histogram->counts.begin(), histogram->counts.end()));
  const double scale = static_cast<double>(most) / static_cast<double>(std::max<Index>(first.values, 1));
  Drawing drawing(left + width + 14, top + height + 24, label);
  for (const double part : {0.0, 0.5, 1.0}) {
    drawing.line(left, top + height * (1 - part), left + width, top + height * (1 - part), "class=\"grid\"");
    drawing.label(left - 6, top + height * (1 - part) + 4, percent(part * scale, 0), "class=\"end\"");
    drawing.label(left + width * part, top + height + 17, number(part), "class=\"middle\"");
  }
  const auto bars = [&](const Histogram& histogram, const char* look, const char* what) {
    for (std::size_t i = 0; i < Histogram::bins; ++i) {
      if (histogram.counts[i] == 0) continue;
      const double bar = height * static_cast<double>(histogram.counts[i]) / static_cast<double>(most);
      drawing.rect(left + bin * static_cast<double>(i) + 0.5, top + height - bar, bin - 1, bar, look,
                   join(what, " from ", number(static_cast<double>(i) / 20, 2), " to ",
                        number(static_cast<double>(i + 1) / 20, 2), ": ",
                        percent(static_cast<double>(histogram.counts[i]) / static_cast<double>(histogram.values))));
    }
  };
  bars(first, "class=\"series-a\"", second ? "largest gate" : "entropy");
  if (second) bars(*second, "class=\"series-b\"", "second gate");
  return std::move(drawing).finish();
}

/// Columns with a number each, e.g. images by the number of experts they used.
inline std::string count_chart(const std::vector<Index>& counts, std::size_t first, const std::string& label) {
  const double column = counts.size() <= 20 ? 26 : 12, top = 10, left = 44, height = 130;
  const Index most = std::max<Index>(1, *std::max_element(counts.begin(), counts.end())),
              all = std::max<Index>(1, RouterStatistics::sum(counts));
  Drawing drawing(left + column * static_cast<double>(counts.size() - first) + 10, top + height + 24, label);
  for (const double part : {0.0, 0.5, 1.0}) {
    const double y = top + height * (1 - part);
    drawing.line(left, y, left + column * static_cast<double>(counts.size() - first), y, "class=\"grid\"");
    drawing.label(left - 6, y + 4, percent(part * static_cast<double>(most) / static_cast<double>(all), 0),
                  "class=\"end\"");
  }
  for (std::size_t i = first; i < counts.size(); ++i) {
    const double x = left + column * static_cast<double>(i - first),
                 bar = height * static_cast<double>(counts[i]) / static_cast<double>(most);
    drawing.rect(x + 2, top + height - bar, column - 4, bar, "class=\"series-a\"", join(i, ": ", counts[i], " images"));
    if (column >= 20 || i % 4 == 0)
      drawing.label(x + column / 2, top + height + 17, std::to_string(i), "class=\"middle\"");
  }
  return std::move(drawing).finish();
}

/// Where on the image an expert's patches lie: full colour is its most frequent position.
inline std::string position_map(const RouterStatistics& router, Index expert, Index columns) {
  const auto i = static_cast<std::size_t>(expert);
  const auto patches = static_cast<Index>(router.by_position.size());
  const double cell = columns <= 8 ? 10 : columns <= 16 ? 6 : 4;
  Index most = 1;
  for (const auto& counts : router.by_position) most = std::max(most, counts[i]);
  Drawing drawing(cell * static_cast<double>(columns), cell * static_cast<double>(ceil_div(patches, columns)),
                  join("Positions of expert ", expert));
  for (Index patch = 0; patch < patches; ++patch) {
    const double share =
        static_cast<double>(router.by_position[static_cast<std::size_t>(patch)][i]) / static_cast<double>(most);
    drawing.rect(cell * static_cast<double>(patch % columns), cell * static_cast<double>(patch / columns), cell, cell,
                 join("class=\"heat\" fill-opacity=\"", number(0.04 + 0.96 * share, 2), "\""));
  }
  return std::move(drawing).finish();
}

}  // namespace moevit::report
