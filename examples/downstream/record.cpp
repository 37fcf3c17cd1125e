#include "downstream/record.hpp"

#include "common/json_records.hpp"
#include "common/statistics.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <utility>

namespace examples::downstream {

namespace {

constexpr auto each_field = [](auto& record, auto visit) {
  visit("backbone", record.backbone);
  visit("task", record.task);
  visit("pipeline", record.pipeline);
  visit("seed", record.seed);
  visit("validation", record.validation);
  visit("test", record.test);
  visit("test_at_50", record.test_at_50);
  visit("test_at_75", record.test_at_75);
  visit("core_seconds", record.core_seconds);
  visit("multiply_adds", record.multiply_adds);
  visit("parameters", record.parameters);
  visit("active_parameters", record.active_parameters);
};

/// The records of one pipeline.
using Row = std::vector<Record>;

Estimate mean(const Row& row, double Record::*field) {
  std::vector<double> values;
  for (const Record& record : row)
    if (record.*field >= 0) values.push_back(record.*field);
  return estimate(values);
}
/// Of the seeds that both have.
Estimate difference(const Row& row, const Row& base, double Record::*field) {
  std::vector<double> values;
  for (const Record& record : row)
    for (const Record& other : base)
      if (record.seed == other.seed && record.*field >= 0 && other.*field >= 0)
        values.push_back(record.*field - other.*field);
  return estimate(values);
}

/// The sum over stages, of the run with the median one: other programs may have disturbed some.
double total(const Row& row, std::vector<double> Record::*stages) {
  std::vector<double> sums;
  for (const Record& record : row)
    sums.push_back(std::accumulate((record.*stages).begin(), (record.*stages).end(), 0.));
  if (sums.empty()) return 0;
  std::nth_element(sums.begin(), sums.begin() + static_cast<std::ptrdiff_t>(sums.size() / 2), sums.end());
  return sums[sums.size() / 2];
}
std::string against(double cost, double base) {
  if (base == 0) return "-";
  char text[24];
  std::snprintf(text, sizeof text, "%+.1f %%", 100 * (cost / base - 1));
  return text;
}

}  // namespace

Records::Records(std::filesystem::path file)
    : file_(std::move(file)), records_(read_records<Record>(file_, each_field)) {}

const Record* Records::find(const Record& of) const {
  for (const Record& record : records_)
    if (record.backbone == of.backbone && record.task == of.task && record.pipeline == of.pipeline &&
        record.seed == of.seed)
      return &record;
  return nullptr;
}

void Records::add(Record record) {
  append_record(file_, record, each_field);
  records_.push_back(std::move(record));
}

std::string to_table(const Records& records, const std::string& backbone, const std::string& task) {
  const auto row_of = [&](const std::string& pipeline) {
    Row row;
    for (const Record& record : records.all())
      if (record.backbone == backbone && record.task == task && record.pipeline == pipeline) row.push_back(record);
    return row;
  };
  const Row dense = row_of("dense"), moe = row_of("MoE");
  const bool has_boxes = std::any_of(dense.begin(), dense.end(), [](const Record& one) { return one.test_at_50 >= 0; });
  std::string text = "| " + backbone + ", " + task + " | seeds | validation | minus dense | test | minus dense |" +
                     (has_boxes ? " AP50 | AP75 |" : "") +
                     " core-seconds | to dense | to MoE | 10^12 multiply-adds | to dense | to MoE | parameters "
                     "(active) |\n|-|-|-|-|-|-|" +
                     (has_boxes ? "-|-|" : "") + "-|-|-|-|-|-|-|\n";
  for (const char* pipeline : {"dense", "MoE", "RMoE-I", "RMoE-D", "scratch"}) {
    const Row row = row_of(pipeline);
    if (row.empty()) continue;
    const bool is_dense = row.front().pipeline == "dense";
    const auto minus = [&](double Record::*field) {
      return is_dense ? std::string() : text_of(difference(row, dense, field));
    };
    const auto cost = [&](std::vector<double> Record::*stages, double scale, const char* format) {
      char number[24];
      std::snprintf(number, sizeof number, format, scale * total(row, stages));
      return std::string(number) + " | " + (is_dense ? "" : against(total(row, stages), total(dense, stages))) + " | " +
             against(total(row, stages), total(moe, stages));
    };
    text += std::string("| ") + pipeline + " | " + std::to_string(row.size()) + " | " +
            text_of(mean(row, &Record::validation)) + " | " + minus(&Record::validation) + " | " +
            text_of(mean(row, &Record::test)) + " | " + minus(&Record::test) + " | ";
    if (has_boxes)
      text += text_of(mean(row, &Record::test_at_50)) + " | " + text_of(mean(row, &Record::test_at_75)) + " | ";
    text += cost(&Record::core_seconds, 1, "%.0f") + " | " + cost(&Record::multiply_adds, 1e-12, "%.2f") + " | " +
            std::to_string(row.front().parameters) + " (" + std::to_string(row.front().active_parameters) + ") |\n";
  }
  return text;
}

}  // namespace examples::downstream
