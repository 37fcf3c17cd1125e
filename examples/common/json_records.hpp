/// Records in a file, a line of JSON each, to which each is appended when it is there.
#pragma once

#include <moevit/core/error.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
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

}  // namespace examples
