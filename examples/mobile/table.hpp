/// The table of a study: means over seeds, and differences to the dense model within each seed.
#pragma once

#include "mobile/record.hpp"

#include <cstdio>
#include <string>
#include <vector>

namespace examples::mobile {

/// The records of one label.
inline std::vector<Record> records_of(const Records<Record>& records, const std::string& label) {
  std::vector<Record> row;
  for (const Record& record : records.all())
    if (record.label == label) row.push_back(record);
  return row;
}

/// A Markdown table, in percent with 90 % confidence intervals. Arms are compared with the dense model that was trained
/// as long as they were.
inline std::string to_table(const Records<Record>& records, const std::vector<std::string>& labels) {
  std::string text =
      "| arm | seeds | million multiply-adds | parameters (active) | validation | minus dense | router | by true "
      "super-class | test | minus dense |\n|-|-|-|-|-|-|-|-|-|-|\n";
  for (const std::string& label : labels) {
    const std::string base = label.ends_with("-upcycled") ? "dense-upcycled" : "dense";
    const std::vector<Record> row = records_of(records, label), dense = records_of(records, base);
    if (row.empty()) continue;
    const bool is_dense = label == base;
    const auto percent = [](const Estimate& value) { return value.mean == 0 ? std::string("-") : text_of(value); };
    char size[120];
    std::snprintf(size, sizeof size, "%.2f | %td (%td)", row.front().multiply_adds / 1e6, row.front().parameters,
                  row.front().active_parameters);
    text += "| " + label + " | " + std::to_string(row.size()) + " | " + size + " | " +
            text_of(mean(row, &Record::validation_accuracy)) + " | " +
            (is_dense ? "" : text_of(difference(row, dense, &Record::validation_accuracy))) + " | " +
            percent(mean(row, &Record::router_accuracy)) + " | " + percent(mean(row, &Record::oracle_accuracy)) + " | " +
            text_of(mean(row, &Record::test_accuracy)) + " | " +
            (is_dense ? "" : text_of(difference(row, dense, &Record::test_accuracy))) + " |\n";
  }
  return text;
}

}  // namespace examples::mobile
