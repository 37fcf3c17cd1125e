/// The curves of a training run as an SVG file that stands alone.
#pragma once

#include <moevit/io/report/line_chart.hpp>
#include <moevit/train/training_log.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moevit::report {

/// A line of a chart.
struct Curve {
  std::string name;
  std::string look;                               ///< class of its stroke
  std::vector<std::pair<double, double>> points;  ///< step, value
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

/// One chart: its top edge, its title, what it shows.
struct Panel {
  double top = 0;
  std::string title;
  std::vector<Curve> curves;
};

inline void draw_panel(const Panel& panel, double last_step, Drawing& drawing) {
  const double left = 62, width = 560, height = 180;
  const std::pair<double, double> range = range_of(panel.curves);
  const double step = tick_step(range.second - range.first);
  const double low = std::floor(range.first / step) * step, high = std::ceil(range.second / step) * step;
  const auto x_of = [&](double at) { return left + width * at / last_step; };
  const auto y_of = [&](double value) { return panel.top + 20 + height * (high - value) / (high - low); };
  for (double tick = low; tick <= high + step / 2; tick += step) {
    drawing.line(left, y_of(tick), left + width, y_of(tick), "class=\"grid\"");
    drawing.label(left - 8, y_of(tick) + 4, number(tick, 6), "class=\"end\"");
  }
  const double x_step = tick_step(last_step);
  for (double tick = 0; tick <= last_step; tick += x_step)
    drawing.label(x_of(tick), panel.top + height + 36, number(tick, 0), "class=\"middle\"");
  drawing.label(left, panel.top + 10, escape(panel.title));
  double legend = left + width;
  for (const Curve& curve : panel.curves) {
    drawing.label(legend, panel.top + 10, escape(curve.name), "class=\"end " + curve.look + "\"");
    legend -= 8. * static_cast<double>(curve.name.size()) + 20.;
    std::string path;
    for (const auto& [at, value] : curve.points)
      path += join(path.empty() ? "M" : "L", number(x_of(at), 2), " ", number(y_of(value), 2));
    if (!path.empty()) drawing.add(join("<path class=\"line ", curve.look, "\" d=\"", path, "\"/>"));
  }
}

template <class Entry>
std::vector<std::pair<double, double>> points_of(const std::vector<Entry>& entries, double Entry::*value) {
  std::vector<std::pair<double, double>> points;
  for (const Entry& entry : entries) points.emplace_back(static_cast<double>(entry.step), entry.*value);
  return points;
}

}  // namespace detail

/// Losses, accuracy and learning rate against steps. The same log gives the same text.
inline std::string training_curves(const TrainingHistory& history) {
  double last = 1;
  if (!history.training.empty()) last = static_cast<double>(history.training.back().step);
  if (!history.evaluations.empty()) last = std::max(last, static_cast<double>(history.evaluations.back().step));
  const double panel_height = 250;
  const std::vector<detail::Panel> panels{
      {10,
       "loss",
       {{"training", "first", detail::points_of(history.training, &TrainingEntry::loss)},
        {"validation", "second", detail::points_of(history.evaluations, &EvaluationEntry::loss)}}},
      {10 + panel_height,
       "accuracy on validation images",
       {{"validation", "second", detail::points_of(history.evaluations, &EvaluationEntry::accuracy)}}},
      {10 + 2 * panel_height,
       "learning rate",
       {{"learning rate", "third", detail::points_of(history.training, &TrainingEntry::learning_rate)}}},
      {10 + 3 * panel_height,
       "norm of the gradients before clipping",
       {{"norm", "first", detail::points_of(history.training, &TrainingEntry::gradient_norm)}}}};
  Drawing drawing(650, 20 + 4 * panel_height, "Training curves against steps");
  drawing.add(detail::curve_style);
  for (const detail::Panel& panel : panels) detail::draw_panel(panel, last, drawing);
  std::string text = std::move(drawing).finish();
  text.insert(4, " xmlns=\"http://www.w3.org/2000/svg\"");  // behind "<svg": this file stands alone
  return text + "\n";
}

}  // namespace moevit::report
