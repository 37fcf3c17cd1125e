/// Results of pipelines, a line of JSON each.
#pragma once

#include "common/records.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace examples::downstream {

/// One pipeline of one seed.
struct Record {
  std::string backbone;
  std::string task;
  std::string pipeline;
  std::uint64_t seed = 0;
  double validation = 0;  ///< mean IoU or AP
  double test = -1;       ///< -1: not looked at
  double test_at_50 = -1;
  double test_at_75 = -1;
  std::vector<double> core_seconds;   ///< of each stage, evaluations and reading included
  std::vector<double> multiply_adds;  ///< of each stage's training steps, 3 forward passes each
  std::ptrdiff_t parameters = 0;      ///< of the downstream model
  std::ptrdiff_t active_parameters = 0;
};

/// visit(name, field) for every field.
void each_field(auto& record, auto visit) {
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
}
inline bool is_same_run(const Record& one, const Record& other) {
  return one.backbone == other.backbone && one.task == other.task && one.pipeline == other.pipeline &&
         one.seed == other.seed;
}

/// A Markdown table of the pipelines of a backbone and task: means with 90 % confidence intervals, in percent, and
/// differences to the dense pipeline within each seed; what they cost beside the dense one and the one with experts
/// from the start.
std::string to_table(const Records<Record>& records, const std::string& backbone, const std::string& task);

}  // namespace examples::downstream
