/// The curves of a training run as an SVG file that stands alone.
#pragma once

#include <moevit/io/report/curve_panels.hpp>
#include <moevit/train/training_log.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace moevit::report {

namespace detail {

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
  return curve_file("Training curves against steps",
                    {{"loss",
                      {{"training", "first", detail::points_of(history.training, &TrainingEntry::loss)},
                       {"validation", "second", detail::points_of(history.evaluations, &EvaluationEntry::loss)}},
                      last},
                     {"accuracy on validation images",
                      {{"validation", "second", detail::points_of(history.evaluations, &EvaluationEntry::accuracy)}},
                      last},
                     {"learning rate",
                      {{"learning rate", "third", detail::points_of(history.training, &TrainingEntry::learning_rate)}},
                      last},
                     {"norm of the gradients before clipping",
                      {{"norm", "first", detail::points_of(history.training, &TrainingEntry::gradient_norm)}},
                      last}});
}

}  // namespace moevit::report
