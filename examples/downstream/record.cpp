#include "downstream/record.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>

namespace examples::downstream {

namespace {

/// The records of one pipeline.
using Row = std::vector<Record>;

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

std::string to_table(const Records<Record>& records, const std::string& backbone, const std::string& task) {
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
