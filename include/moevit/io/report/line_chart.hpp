/// Accuracy against capacity as lines.
#pragma once

#include <moevit/io/report/markup.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace moevit::report {

/// Accuracy, and the share of choices that were dropped, at one capacity ratio in both orders of service.
struct CapacityPoint {
  double ratio = 0;
  double accuracy_by_position = 0;
  double accuracy_by_gate = 0;
  double dropped_by_position = 0;
  double dropped_by_gate = 0;
};

namespace detail {

/// A round step that cuts the range in three to seven.
inline double tick_step(double range) {
  const double rough = range / 7, magnitude = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (rough <= factor * magnitude) return factor * magnitude;
  return 10 * magnitude;
}

}  // namespace detail

/// Points with rising ratios; `unlimited` is the accuracy when nothing is dropped.
inline std::string capacity_chart(const std::vector<CapacityPoint>& points, double unlimited) {
  const double left = 62, top = 14, width = 520, height = 260;
  double low = unlimited, high = unlimited;
  for (const CapacityPoint& point : points) {
    low = std::min({low, point.accuracy_by_position, point.accuracy_by_gate});
    high = std::max({high, point.accuracy_by_position, point.accuracy_by_gate});
  }
  const double step = detail::tick_step(std::max(high - low, 0.005));
  low = std::max(0.0, std::floor(low / step - 0.25) * step), high = std::min(1.0, std::ceil(high / step + 0.25) * step);
  const double last = points.back().ratio * 1.04;
  const auto x_of = [&](double ratio) { return left + width * ratio / last; };
  const auto y_of = [&](double accuracy) { return top + height * (high - accuracy) / (high - low); };
  Drawing drawing(left + width + 20, top + height + 46, "Accuracy against capacity ratio");
  for (double tick = low; tick <= high + step / 2; tick += step) {
    drawing.line(left, y_of(tick), left + width, y_of(tick), "class=\"grid\"");
    drawing.label(left - 8, y_of(tick) + 4, percent(tick, 2), "class=\"end\"");
  }
  const double ratio_step = detail::tick_step(last);
  for (double tick = 0; tick <= last; tick += ratio_step)
    drawing.label(x_of(tick), top + height + 18, number(tick, 3), "class=\"middle\"");
  drawing.label(left + width / 2, top + height + 38, "capacity ratio", "class=\"middle\"");
  drawing.line(left, y_of(unlimited), left + width, y_of(unlimited), "class=\"even\"");
  const auto line = [&](double CapacityPoint::*accuracy, double CapacityPoint::*dropped, const char* look,
                        const char* what) {
    std::string path;
    for (const CapacityPoint& point : points)
      path += join(path.empty() ? "M" : "L", number(x_of(point.ratio), 1), " ", number(y_of(point.*accuracy), 1));
    drawing.add(join("<path class=\"line ", look, "\" d=\"", path, "\"/>"));
    for (const CapacityPoint& point : points)
      drawing.add(join("<circle class=\"dot ", look, "\" cx=\"", number(x_of(point.ratio), 1), "\" cy=\"",
                       number(y_of(point.*accuracy), 1), "\" r=\"4\"><title>", what, ", ratio ", number(point.ratio, 3),
                       ": ", percent(point.*accuracy, 2), ", ", percent(point.*dropped), " dropped</title></circle>"));
  };
  line(&CapacityPoint::accuracy_by_position, &CapacityPoint::dropped_by_position, "vanilla", "vanilla");
  line(&CapacityPoint::accuracy_by_gate, &CapacityPoint::dropped_by_gate, "priority", "batch priority");
  return std::move(drawing).finish();
}

}  // namespace moevit::report
