/// Results of pipelines, a line of JSON each.
#pragma once

#include <cstdint>
#include <filesystem>
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

/// Records in a file, to which each is appended when it is there.
class Records {
 public:
  /// Reads what is there already. Throws Error naming file and line when it is something else.
  explicit Records(std::filesystem::path file);

  /// nullptr: not there yet.
  const Record* find(const Record& of) const;
  /// Throws Error when it cannot be written.
  void add(Record record);
  const std::vector<Record>& all() const { return records_; }

 private:
  std::filesystem::path file_;
  std::vector<Record> records_;
};

/// A Markdown table of the pipelines of a backbone and task: means with 90 % confidence intervals, in percent, and
/// differences to the dense pipeline within each seed; what they cost beside the dense one and the one with experts
/// from the start.
std::string to_table(const Records& records, const std::string& backbone, const std::string& task);

}  // namespace examples::downstream
