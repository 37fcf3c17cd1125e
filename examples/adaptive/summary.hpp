/// The study over several models: means with confidence intervals, and what batch priority gains within each.
#pragma once

#include "adaptive/tables.hpp"
#include "common/statistics.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

namespace examples::adaptive {

/// Throws moevit::Error, naming file and line, when it is not what adaptive_compute writes.
inline Run read_run(const std::filesystem::path& path) {
  std::ifstream stream(path);
  if (!stream) moevit::fail(path.string(), ": cannot be opened");
  Run run;
  std::string line;
  for (Index number = 1; std::getline(stream, line); ++number) {
    try {
      run.push_back(from_json(line));
    } catch (const moevit::Error& error) {
      moevit::fail(path.string(), ": line ", number, ": ", error.what());
    }
  }
  if (run.empty()) moevit::fail(path.string(), ": has no measurements");
  return run;
}

/// Throws moevit::Error when runs were not made with the same settings and numbers of images.
inline void check_runs(const std::vector<Run>& runs) {
  for (std::size_t i = 1; i < runs.size(); ++i) {
    if (runs[i].size() != runs[0].size())
      moevit::fail("run ", i, ": has ", runs[i].size(), " measurements, run 0 ", runs[0].size());
    for (std::size_t k = 0; k < runs[i].size(); ++k)
      if (label_of(runs[i][k].setting) != label_of(runs[0][k].setting) || runs[i][k].images != runs[0][k].images)
        moevit::fail("run ", i, ", measurement ", k, ": expected '", label_of(runs[0][k].setting), "' of ",
                     runs[0][k].images, " images, found '", label_of(runs[i][k].setting), "' of ", runs[i][k].images);
  }
}

/// All images of all runs as if they were of one, with mean times, for the charts.
inline Run pooled(const std::vector<Run>& runs) {
  Run result = runs.front();
  const double share = 1. / static_cast<double>(runs.size());
  for (std::size_t k = 0; k < result.size(); ++k) {
    Measurement sum{.setting = result[k].setting};
    for (const Run& run : runs) {
      sum.images += run[k].images, sum.correct += run[k].correct;
      sum.seconds_per_image += share * run[k].seconds_per_image;
      sum.rows_per_image += share * run[k].rows_per_image;
      sum.dropped += share * run[k].dropped;
    }
    result[k] = sum;
  }
  return result;
}

inline Estimate over_runs(const std::vector<Run>& runs, const std::function<double(const Run&)>& value) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(value(run));
  return estimate(values);
}

/// Accuracies of the three orders at each capacity, in percent with 90 % confidence intervals, and what the priorities
/// gain over the order of positions in the same model. Markdown.
inline std::string capacity_table(const std::vector<Run>& runs) {
  std::string text =
      "| C | position | max gate | sum of gates | max gate - position | sum - position |\n|-|-|-|-|-|-|\n";
  const auto accuracy = [&](std::size_t place) {
    return over_runs(runs, [place](const Run& run) { return run[place].accuracy(); });
  };
  const auto gain = [&](std::size_t place, std::size_t base) {
    return over_runs(runs, [=](const Run& run) { return run[place].accuracy() - run[base].accuracy(); });
  };
  for (const Measurement& measurement : runs.front()) {
    const Setting& setting = measurement.setting;
    if (setting.study != "capacity" || setting.capacity == moevit::unlimited ||
        setting.priority != moevit::Priority::position)
      continue;
    const std::size_t position = find(runs.front(), setting.capacity, moevit::Priority::position);
    const std::size_t largest = find(runs.front(), setting.capacity, moevit::Priority::max_gate);
    const std::size_t sum = find(runs.front(), setting.capacity, moevit::Priority::sum_of_gates);
    if (largest == runs.front().size() || sum == runs.front().size()) continue;
    char ratio[16];
    std::snprintf(ratio, sizeof ratio, "%.2f", setting.capacity);
    text += std::string("| ") + ratio + " | " + text_of(accuracy(position)) + " | " + text_of(accuracy(largest)) +
            " | " + text_of(accuracy(sum)) + " | " + text_of(gain(largest, position)) + " | " +
            text_of(gain(sum, position)) + " |\n";
  }
  return text;
}

/// The other settings: k, random routers, unlimited capacity.
inline std::string other_table(const std::vector<Run>& runs) {
  std::string text = "| setting | accuracy |\n|-|-|\n";
  for (std::size_t place = 0; place < runs.front().size(); ++place) {
    const Setting& setting = runs.front()[place].setting;
    if (setting.study == "capacity" && setting.capacity != moevit::unlimited) continue;
    text += "| " + label_of(setting) + " | " +
            text_of(over_runs(runs, [place](const Run& run) { return run[place].accuracy(); })) + " |\n";
  }
  return text;
}

}  // namespace examples::adaptive
