/// Records of runs in a file, a line of JSON each, to which each is appended when it is there; and their means.
#pragma once

#include "common/statistics.hpp"

#include <moevit/core/error.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// The records of a file, none if it does not exist. each_field(record, visit) calls visit(name, field) for every
/// field. Throws Error naming file and line when it is something else.
template <class Record, class EachField>
std::vector<Record> read_records(const std::filesystem::path& file, EachField each_field) {
  std::vector<Record> records;
  std::ifstream stream(file);
  std::string line;
  for (std::ptrdiff_t number = 1; std::getline(stream, line); ++number) {
    try {
      const auto json = nlohmann::ordered_json::parse(line);
      Record record;
      each_field(record, [&](const char* name, auto& field) { json.at(name).get_to(field); });
      records.push_back(std::move(record));
    } catch (const nlohmann::ordered_json::exception& error) {
      moevit::fail(file.string(), ": line ", number, ": expected a record of a finished run: ", error.what());
    }
  }
  return records;
}

/// Throws Error when it cannot be written.
template <class Record, class EachField>
void append_record(const std::filesystem::path& file, const Record& record, EachField each_field) {
  nlohmann::ordered_json json;
  each_field(record, [&](const char* name, const auto& field) { json[name] = field; });
  std::ofstream stream(file, std::ios::app);
  stream << json.dump() << '\n' << std::flush;
  if (!stream) moevit::fail(file.string(), ": cannot be written");
}

/// The records of such a file in memory. each_field(record, visit) is found by the namespace of Record, as is_same_run(one,
/// other).
template <class Record>
class Records {
 public:
  /// Reads what is there already. Throws Error naming file and line when it is something else.
  explicit Records(std::filesystem::path file) : file_(std::move(file)), records_(read_records<Record>(file_, field)) {}

  /// nullptr: not there yet.
  const Record* find(const Record& of) const {
    for (const Record& record : records_)
      if (is_same_run(record, of)) return &record;
    return nullptr;
  }
  /// Throws Error when it cannot be written.
  void add(Record record) {
    append_record(file_, record, field);
    records_.push_back(std::move(record));
  }
  const std::vector<Record>& all() const { return records_; }

 private:
  static constexpr auto field = [](auto& record, auto visit) { each_field(record, visit); };

  std::filesystem::path file_;
  std::vector<Record> records_;
};

/// The mean of a field that is negative where it was not measured.
template <class Record>
Estimate mean(const std::vector<Record>& records, double Record::*field) {
  std::vector<double> values;
  for (const Record& record : records)
    if (record.*field >= 0) values.push_back(record.*field);
  return estimate(values);
}
/// Of differences to the records of the same seeds.
template <class Record>
Estimate difference(const std::vector<Record>& records, const std::vector<Record>& base, double Record::*field) {
  std::vector<double> values;
  for (const Record& record : records)
    for (const Record& other : base)
      if (record.seed == other.seed && record.*field >= 0 && other.*field >= 0)
        values.push_back(record.*field - other.*field);
  return estimate(values);
}

}  // namespace examples
