/// What comes out of the study: JSON lines, a text table, charts.
#pragma once

#include "adaptive/measurer.hpp"

#include <moevit/io/report/curve_panels.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace examples::adaptive {

/// The measurements of one model.
using Run = std::vector<Measurement>;

inline const char* name_of(moevit::Priority priority) {
  switch (priority) {
    case moevit::Priority::position:
      return "position";
    case moevit::Priority::max_gate:
      return "max-gate";
    case moevit::Priority::sum_of_gates:
      return "sum";
  }
  return "";
}

/// One line, with null for an unlimited capacity.
inline std::string to_json(const Measurement& measurement) {
  const Setting& setting = measurement.setting;
  nlohmann::ordered_json json{{"study", setting.study}, {"capacity", nullptr}};
  if (setting.capacity != moevit::unlimited) json["capacity"] = setting.capacity;
  json["priority"] = name_of(setting.priority);
  json["selected"] = setting.selected;
  json["random_blocks"] = setting.random;
  json["images"] = measurement.images;
  json["correct"] = measurement.correct;
  json["accuracy"] = measurement.accuracy();
  json["microseconds_per_image"] = 1e6 * measurement.seconds_per_image;
  json["expert_rows_per_image"] = measurement.rows_per_image;
  json["dropped"] = measurement.dropped;
  return json.dump() + "\n";
}

/// What to_json wrote. Throws moevit::Error when the line is something else.
inline Measurement from_json(const std::string& line) {
  try {
    const auto json = nlohmann::json::parse(line);
    Measurement measurement;
    Setting& setting = measurement.setting;
    json.at("study").get_to(setting.study);
    if (!json.at("capacity").is_null()) json.at("capacity").get_to(setting.capacity);
    const auto priority = json.at("priority").get<std::string>();
    for (const auto known : {moevit::Priority::position, moevit::Priority::max_gate, moevit::Priority::sum_of_gates})
      if (priority == name_of(known)) setting.priority = known;
    json.at("selected").get_to(setting.selected);
    json.at("random_blocks").get_to(setting.random);
    json.at("images").get_to(measurement.images);
    json.at("correct").get_to(measurement.correct);
    measurement.seconds_per_image = json.at("microseconds_per_image").get<double>() / 1e6;
    json.at("expert_rows_per_image").get_to(measurement.rows_per_image);
    json.at("dropped").get_to(measurement.dropped);
    return measurement;
  } catch (const nlohmann::json::exception& error) {
    moevit::fail("expected a line of adaptive.jsonl: ", error.what());
  }
}

/// What a row is about, in a few words.
inline std::string label_of(const Setting& setting) {
  if (setting.study == "selected") return "k = " + std::to_string(setting.selected);
  if (setting.study == "random") {
    std::string blocks;
    for (const Index block : setting.random) blocks += (blocks.empty() ? "" : ", ") + std::to_string(block);
    return blocks.empty() ? "no random router" : "random router in block " + blocks;
  }
  if (setting.capacity == moevit::unlimited) return "unlimited";
  char text[64];
  std::snprintf(text, sizeof text, "C = %.2f, %s", setting.capacity, name_of(setting.priority));
  return text;
}

inline std::string to_table(const Run& measurements) {
  std::string text, study;
  for (const Measurement& measurement : measurements) {
    if (measurement.setting.study != study) {
      text += std::string(study.empty() ? "" : "\n") +
              "                                          accuracy   us/image   expert rows/image    dropped\n";
      study = measurement.setting.study;
    }
    char line[160];
    std::snprintf(line, sizeof line, "%-40s %7.2f %%   %8.1f   %17.1f   %6.2f %%\n",
                  label_of(measurement.setting).c_str(), 100 * measurement.accuracy(),
                  1e6 * measurement.seconds_per_image, measurement.rows_per_image, 100 * measurement.dropped);
    text += line;
  }
  return text;
}

/// Points of a study, rising along `place(setting)`, as value(measurement).
template <class Belongs, class Place, class Value>
moevit::report::Curve curve_of(const Run& measurements, std::string name, std::string look, Belongs belongs,
                               Place place, Value value) {
  moevit::report::Curve curve{std::move(name), std::move(look), {}};
  for (const Measurement& measurement : measurements)
    if (belongs(measurement.setting)) curve.points.emplace_back(place(measurement.setting), value(measurement));
  std::sort(curve.points.begin(), curve.points.end());
  return curve;
}

/// The place of a setting in the capacity study; the size of the run where it is not there.
inline std::size_t find(const Run& run, double capacity, moevit::Priority priority) {
  return static_cast<std::size_t>(std::find_if(run.begin(), run.end(),
                                               [&](const Measurement& measurement) {
                                                 const Setting& setting = measurement.setting;
                                                 return setting.study == "capacity" && setting.capacity == capacity &&
                                                        setting.priority == priority;
                                               }) -
                                  run.begin());
}

/// The time of an image where nothing is dropped. Throws moevit::Error when that is not measured.
inline double unlimited_seconds(const Run& run) {
  const std::size_t place = find(run, moevit::unlimited, moevit::Priority::position);
  if (place == run.size()) moevit::fail("charts: expected a measurement of unlimited capacity, found none");
  return run[place].seconds_per_image;
}

/// Accuracy and time against the capacity ratio, accuracy against k. Times are shares of that without limit, since
/// models of one study may have run on several machines.
inline std::string to_charts(const Run& measurements) {
  using moevit::report::CurvePanel;
  const auto ratio = [](const Setting& setting) { return setting.capacity; };
  const auto selected = [](const Setting& setting) { return static_cast<double>(setting.selected); };
  const auto accuracy = [](const Measurement& measurement) { return measurement.accuracy(); };
  const double whole = unlimited_seconds(measurements);
  const auto time = [whole](const Measurement& measurement) { return measurement.seconds_per_image / whole; };
  const auto orders = [&](auto value) {
    std::vector<moevit::report::Curve> curves;
    const auto add = [&](const char* name, const char* look, moevit::Priority priority) {
      const auto belongs = [priority](const Setting& setting) {
        return setting.study == "capacity" && setting.capacity != moevit::unlimited && setting.priority == priority;
      };
      curves.push_back(curve_of(measurements, name, look, belongs, ratio, value));
    };
    add("position", "first", moevit::Priority::position);
    add("max gate", "second", moevit::Priority::max_gate);
    add("sum of gates", "third", moevit::Priority::sum_of_gates);
    return curves;
  };
  const auto last_of = [](const std::vector<moevit::report::Curve>& curves) {
    double last = 0;
    for (const auto& curve : curves)
      for (const auto& point : curve.points) last = std::max(last, point.first);
    return std::max(last, 1e-3);
  };
  std::vector<CurvePanel> panels;
  const auto add = [&](const char* title, std::vector<moevit::report::Curve> curves) {
    const double last = last_of(curves);
    panels.push_back({title, std::move(curves), last});
  };
  add("accuracy against the capacity ratio C", orders(accuracy));
  add("time against C, of that of unlimited capacity", orders(time));
  add("accuracy against k, nothing dropped",
      {curve_of(
          measurements, "k", "first", [](const Setting& setting) { return setting.study == "selected"; }, selected,
          accuracy)});
  return moevit::report::curve_file("Accuracy and time of a V-MoE with less and less compute", panels);
}

}  // namespace examples::adaptive
