/// The table of a study: means over seeds, and differences to the dense model within each seed.
#pragma once

#include "common/statistics.hpp"
#include "mobile/record.hpp"

#include <cstdio>
#include <string>
#include <vector>

namespace examples::mobile {

/// The records of one label.
class Row {
 public:
  Row(const Records& records, std::string label) : label_(std::move(label)) {
    for (const Record& record : records.all())
      if (record.label == label_) records_.push_back(record);
  }

  const std::string& label() const { return label_; }
  bool empty() const { return records_.empty(); }
  const Record& front() const { return records_.front(); }
  Estimate mean(double Record::*field) const {
    std::vector<double> values;
    for (const Record& record : records_)
      if (record.*field >= 0) values.push_back(record.*field);
    return estimate(values);
  }
  /// Of the seeds that both have.
  Estimate difference(const Row& other, double Record::*field) const {
    std::vector<double> values;
    for (const Record& record : records_)
      for (const Record& base : other.records_)
        if (record.seed == base.seed && record.*field >= 0 && base.*field >= 0)
          values.push_back(record.*field - base.*field);
    return estimate(values);
  }
  std::size_t seeds() const { return records_.size(); }

 private:
  std::string label_;
  std::vector<Record> records_;
};

/// A Markdown table, in percent with 90 % confidence intervals. Arms are compared with the dense model that was trained
/// as long as they were.
inline std::string to_table(const Records& records, const std::vector<std::string>& labels) {
  std::string text =
      "| arm | seeds | million multiply-adds | parameters (active) | validation | minus dense | router | by true "
      "super-class | test | minus dense |\n|-|-|-|-|-|-|-|-|-|-|\n";
  for (const std::string& label : labels) {
    const Row row(records, label), dense(records, label.ends_with("-upcycled") ? "dense-upcycled" : "dense");
    if (row.empty()) continue;
    const bool is_dense = row.label() == dense.label();
    const auto percent = [](const Estimate& value) { return value.mean == 0 ? std::string("-") : text_of(value); };
    char size[120];
    std::snprintf(size, sizeof size, "%.2f | %td (%td)", row.front().multiply_adds / 1e6, row.front().parameters,
                  row.front().active_parameters);
    text += "| " + label + " | " + std::to_string(row.seeds()) + " | " + size + " | " +
            text_of(row.mean(&Record::validation_accuracy)) + " | " +
            (is_dense ? "" : text_of(row.difference(dense, &Record::validation_accuracy))) + " | " +
            percent(row.mean(&Record::router_accuracy)) + " | " + percent(row.mean(&Record::oracle_accuracy)) + " | " +
            text_of(row.mean(&Record::test_accuracy)) + " | " +
            (is_dense ? "" : text_of(row.difference(dense, &Record::test_accuracy))) + " |\n";
  }
  return text;
}

}  // namespace examples::mobile
