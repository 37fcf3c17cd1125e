/// Charts of lines, one below the other, as an SVG file that stands alone.
#pragma once

#include <moevit/io/report/line_chart.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit::report {

/// A line of a chart.
struct Curve {
  std::string name;
  std::string look;                               ///< class of its stroke
  std::vector<std::pair<double, double>> points;  ///< place on the axis, value
};

/// One chart: its title, and what it shows against an axis from 0.
struct CurvePanel {
  std::string title;
  std::vector<Curve> curves;
  double last = 1;  ///< end of the axis
};

namespace detail {

inline constexpr const char* curve_style =
    "<style>svg{background:#fff;font:12px sans-serif;color:#222}text{fill:#222}"
    ".grid{stroke:#ddd}.line{fill:none;stroke-width:1.5}.middle{text-anchor:middle}.end{text-anchor:end}"
    ".first{stroke:#0072b2}.second{stroke:#d55e00}.third{stroke:#009e73}text.first{fill:#0072b2;stroke:none}"
    "text.second{fill:#d55e00;stroke:none}text.third{fill:#009e73;stroke:none}"
    "@media(prefers-color-scheme:dark){svg{background:#1b1b1b}text{fill:#ddd}.grid{stroke:#444}}</style>";

/// Least and greatest value, so far apart that a chart can be drawn.
inline std::pair<double, double> range_of(std::span<const Curve> curves) {
  double low = 0, high = 0;
  bool is_first = true;
  for (const Curve& curve : curves)
    for (const auto& [step, value] : curve.points) {
      low = is_first ? value : std::min(low, value), high = is_first ? value : std::max(high, value);
      is_first = false;
    }
  const double least = std::max(1e-6, 1e-3 * std::max(std::abs(low), std::abs(high)));
  return {low, std::max(high, low + least)};
}

inline void draw_panel(const CurvePanel& panel, double top, Drawing& drawing) {
  const double left = 62, width = 560, height = 180;
  const std::pair<double, double> range = range_of(panel.curves);
  const double step = tick_step(range.second - range.first);
  const double low = std::floor(range.first / step) * step, high = std::ceil(range.second / step) * step;
  const auto x_of = [&](double at) { return left + width * at / panel.last; };
  const auto y_of = [&](double value) { return top + 20 + height * (high - value) / (high - low); };
  for (double tick = low; tick <= high + step / 2; tick += step) {
    drawing.line(left, y_of(tick), left + width, y_of(tick), "class=\"grid\"");
    drawing.label(left - 8, y_of(tick) + 4, number(tick, 6), "class=\"end\"");
  }
  const double x_step = tick_step(panel.last);
  for (double tick = 0; tick <= panel.last; tick += x_step)
    drawing.label(x_of(tick), top + height + 36, number(tick, 6), "class=\"middle\"");
  drawing.label(left, top + 10, escape(panel.title));
  double legend = left + width;
  for (const Curve& curve : panel.curves) {
    drawing.label(legend, top + 10, escape(curve.name), "class=\"end " + curve.look + "\"");
    legend -= 8. * static_cast<double>(curve.name.size()) + 20.;
    std::string path;
    for (const auto& [at, value] : curve.points)
      path += join(path.empty() ? "M" : "L", number(x_of(at), 2), " ", number(y_of(value), 2));
    if (!path.empty()) drawing.add(join("<path class=\"line ", curve.look, "\" d=\"", path, "\"/>"));
  }
}

}  // namespace detail

/// The file, the first panel on top. `label` says to screen readers what it shows. The same panels give the same text.
inline std::string curve_file(std::string_view label, const std::vector<CurvePanel>& panels) {
  const double height = 250;
  Drawing drawing(650, 20 + static_cast<double>(panels.size()) * height, label);
  drawing.add(detail::curve_style);
  double top = 10;
  for (const CurvePanel& panel : panels) {
    detail::draw_panel(panel, top, drawing);
    top += height;
  }
  std::string text = std::move(drawing).finish();
  text.insert(4, " xmlns=\"http://www.w3.org/2000/svg\"");  // behind "<svg": this file stands alone
  return text + "\n";
}

}  // namespace moevit::report
