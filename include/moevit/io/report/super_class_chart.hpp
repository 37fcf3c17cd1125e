/// The graph of confused classes as SVG: classes on a circle, ordered and coloured by super-class, which are listed.
#pragma once

#include <moevit/io/report/markup.hpp>
#include <moevit/io/report/palette.hpp>
#include <moevit/train/super_classes.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace moevit::report {

namespace detail {

/// Names, a comma between them, in lines of at most `most` letters; a longer name has a line of its own.
inline std::vector<std::string> lines_of(const std::vector<std::string>& names, std::size_t most) {
  std::vector<std::string> lines{""};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string text = names[i] + (i + 1 < names.size() ? "," : "");
    if (!lines.back().empty() && lines.back().size() + 1 + text.size() > most) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + text;
  }
  return lines;
}

/// A super-class and its text in the list.
struct ListedGroup {
  Index group = 0;
  std::vector<std::string> lines;
};

inline std::vector<ListedGroup> list_groups(const SuperClasses& super_classes, const std::vector<std::string>& names) {
  std::vector<ListedGroup> listed;
  for (const std::vector<Index>& members : super_classes.members()) {
    std::vector<std::string> of_group;
    for (const Index member : members) of_group.push_back(names[static_cast<std::size_t>(member)]);
    listed.push_back({std::ssize(listed), lines_of(of_group, 70)});
  }
  return listed;
}

/// Places on a circle, by class: in the order of the groups, with a gap between two of them.
inline std::vector<std::pair<double, double>> circle_places(const SuperClasses& super_classes, double centre,
                                                            double radius) {
  std::vector<std::pair<double, double>> places(super_classes.groups.size());
  const double steps = static_cast<double>(super_classes.groups.size()) + static_cast<double>(super_classes.count);
  double step = 0;
  for (const std::vector<Index>& members : super_classes.members()) {
    for (const Index member : members) {
      const double angle = 2 * std::numbers::pi * step++ / steps - std::numbers::pi / 2;
      places[static_cast<std::size_t>(member)] = {centre + radius * std::cos(angle), centre + radius * std::sin(angle)};
    }
    ++step;
  }
  return places;
}

/// A curve for every edge of at least 2 % of the largest weight, the more often confused the stronger. It bends to the
/// centre, more so between neighbours, which would hide it.
inline void draw_edges(Drawing& drawing, const ClassGraph& graph, const SuperClasses& super_classes,
                       const std::vector<std::pair<double, double>>& places, double centre, bool within_groups) {
  const double largest = *std::max_element(graph.weights().begin(), graph.weights().end());
  for (Index a = 0; a < graph.classes(); ++a)
    for (Index b = 0; b < a; ++b) {
      const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
      const double share = largest > 0 ? graph.weight(a, b) / largest : 0;
      if (share < 0.02 || (super_classes.groups[i] == super_classes.groups[j]) != within_groups) continue;
      const double x = (places[i].first + places[j].first) / 2, y = (places[i].second + places[j].second) / 2;
      const std::string colour =
          within_groups ? expert_colour(super_classes.groups[i], super_classes.count) : "var(--soft)";
      drawing.add(join("<path fill=\"none\" style=\"stroke:", colour, "\" stroke-width=\"",
                       number(0.6 + 2.4 * share, 2), "\" stroke-opacity=\"",
                       number((within_groups ? 0.4 : 0.1) + 0.6 * share, 2), "\" d=\"M", number(places[i].first, 1),
                       " ", number(places[i].second, 1), "Q", number(centre + 0.6 * (x - centre), 1), " ",
                       number(centre + 0.6 * (y - centre), 1), " ", number(places[j].first, 1), " ",
                       number(places[j].second, 1), "\"/>"));
    }
}

}  // namespace detail

/// The picture of a graph and its super-classes, for a Page. `names`: of the classes, or empty for their numbers.
/// Throws Error when the three do not have the same classes.
inline std::string super_class_chart(const ClassGraph& graph, const SuperClasses& super_classes,
                                     std::vector<std::string> names = {}) {
  moevit::detail::check_groups(super_classes.groups, graph.classes());
  if (names.empty())
    for (Index i = 0; i < graph.classes(); ++i) names.push_back(join("class ", i));
  if (std::ssize(names) != graph.classes())
    fail("super-classes: expected ", graph.classes(), " class names, found ", names.size());
  const double radius = std::clamp(5.0 * static_cast<double>(graph.classes()) / std::numbers::pi, 110.0, 420.0);
  const double centre = radius + 14, left = 2 * centre + 24, line_height = 16;
  const std::vector<detail::ListedGroup> listed = detail::list_groups(super_classes, names);
  double height = 14;
  for (const detail::ListedGroup& group : listed) height += line_height * static_cast<double>(group.lines.size()) + 8;
  Drawing drawing(left + 560, std::max(height, 2 * centre), "Confused classes and their super-classes");
  const auto places = detail::circle_places(super_classes, centre, radius);
  for (const bool within_groups : {false, true})
    detail::draw_edges(drawing, graph, super_classes, places, centre, within_groups);
  for (std::size_t i = 0; i < places.size(); ++i)
    drawing.add(join("<circle cx=\"", number(places[i].first, 2), "\" cy=\"", number(places[i].second, 2),
                     "\" r=\"5\" fill=\"", expert_colour(super_classes.groups[i], super_classes.count), "\"><title>",
                     escape(names[i]), ", super-class ", super_classes.groups[i], "</title></circle>"));
  double y = 16;
  for (const detail::ListedGroup& group : listed) {
    drawing.rect(left, y - 11, 12, 12, join("fill=\"", expert_colour(group.group, super_classes.count), "\""));
    drawing.label(left + 36, y, std::to_string(group.group), "class=\"end\"");
    for (const std::string& line : group.lines) {
      drawing.label(left + 46, y, escape(line), "class=\"name\"");
      y += line_height;
    }
    y += 8;
  }
  return std::move(drawing).finish();
}

}  // namespace moevit::report
