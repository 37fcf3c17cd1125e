/// The log of a training run: a line of JSON per entry, the same for a run that was interrupted and one that was not.
///
/// So nothing in it depends on a clock.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/index.hpp>
#include <moevit/io/flat_json.hpp>
#include <moevit/io/system.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace moevit {

/// Means over the steps since the entry before.
struct TrainingEntry {
  Index step = 0;
  Index epoch = 0;  ///< of the step, from 0
  double loss = 0;  ///< of the classifier
  double auxiliary = 0;
  double router = 0;  ///< of the super-classes, or of a teacher's routers
  double learning_rate = 0;
  double gradient_norm = 0;  ///< before clipping
};

/// One evaluation on the validation images.
struct EvaluationEntry {
  Index step = 0;
  double loss = 0;
  double accuracy = 0;
  bool is_best = false;
  double router_accuracy = 0;  ///< see Evaluation
};

inline std::string to_json_line(const TrainingEntry& entry) {
  char text[320];
  std::snprintf(text, sizeof text,
                "{\"step\":%lld,\"epoch\":%lld,\"loss\":%.9g,\"auxiliary_loss\":%.9g,\"router_loss\":%.9g,"
                "\"learning_rate\":%.9g,\"gradient_norm\":%.9g}\n",
                static_cast<long long>(entry.step), static_cast<long long>(entry.epoch), entry.loss, entry.auxiliary,
                entry.router, entry.learning_rate, entry.gradient_norm);
  return text;
}
inline std::string to_json_line(const EvaluationEntry& entry) {
  char text[200];
  std::snprintf(text, sizeof text,
                "{\"step\":%lld,\"validation_loss\":%.9g,\"validation_accuracy\":%.9g,\"router_accuracy\":%.9g,"
                "\"best\":%s}\n",
                static_cast<long long>(entry.step), entry.loss, entry.accuracy, entry.router_accuracy,
                entry.is_best ? "true" : "false");
  return text;
}

/// Appends to a log file. Every failure throws Error with the file and the system's reason.
class TrainingLog {
 public:
  /// Goes on behind the first `bytes` of the file, which a checkpoint remembers; what a killed run wrote behind them is
  /// cut off. 0: a new log. Throws Error when the file is shorter.
  TrainingLog(const std::filesystem::path& path, std::uint64_t bytes) : path_(path), bytes_(bytes) {
    std::error_code failure;
    const bool exists = std::filesystem::exists(path, failure);
    const std::uint64_t found = exists ? std::filesystem::file_size(path, failure) : 0;
    if (found < bytes)
      fail(path.string(), ": expected the ", bytes, " bytes of the checkpoint's run at least, found ", found,
           ": put the log back, or begin anew in another folder");
    if (exists) std::filesystem::resize_file(path, bytes, failure);
    if (failure) fail(path.string(), ": cannot be cut: ", failure.message());
    file_ = std::fopen(path.string().c_str(), "ab");
    if (!file_) fail(path.string(), ": cannot be opened: ", std::strerror(errno));
  }
  TrainingLog(const TrainingLog&) = delete;
  TrainingLog& operator=(const TrainingLog&) = delete;
  ~TrainingLog() { std::fclose(file_); }

  template <class Entry>
  void add(const Entry& entry) {
    const std::string line = to_json_line(entry);
    if (std::fwrite(line.data(), 1, line.size(), file_) != line.size() || std::fflush(file_) != 0)
      refuse("cannot be written");
    bytes_ += line.size();
  }

  std::uint64_t bytes() const { return bytes_; }

  /// Brings all of it to the disk: before the checkpoint that remembers its length.
  void sync() const {
    if (!detail::sync_file(file_)) refuse("cannot be brought to disk");
  }

 private:
  [[noreturn]] void refuse(const char* what) const { fail(path_.string(), ": ", what, ": ", std::strerror(errno)); }

  std::filesystem::path path_;
  std::uint64_t bytes_;
  std::FILE* file_ = nullptr;
};

/// A log as read from its file.
struct TrainingHistory {
  std::vector<TrainingEntry> training;
  std::vector<EvaluationEntry> evaluations;
};

namespace detail {

inline double number_of(const FlatJson& line, const char* name) {
  const auto found = line.find(name);
  if (found == line.end() || found->second.size() != 1) fail("expected a number '", name, "'");
  const JsonScalar& value = found->second.front();
  return value.kind == JsonScalar::Kind::integer ? static_cast<double>(value.integer) : value.real;
}

inline void add_line(const std::string& text, TrainingHistory& history) {
  const FlatJson line = parse_flat_json(text);
  const auto at = [&](const char* name) { return number_of(line, name); };
  const auto step = static_cast<Index>(at("step"));
  if (line.contains("loss"))
    history.training.push_back({step, static_cast<Index>(at("epoch")), at("loss"), at("auxiliary_loss"),
                                at("router_loss"), at("learning_rate"), at("gradient_norm")});
  else
    history.evaluations.push_back({step, at("validation_loss"), at("validation_accuracy"),
                                   line.at("best").front().boolean, at("router_accuracy")});
}

}  // namespace detail

/// Throws Error naming file and line when it is no log.
inline TrainingHistory read_training_log(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) fail(path.string(), ": cannot be opened");
  TrainingHistory history;
  std::string line;
  for (Index number = 1; std::getline(stream, line); ++number) {
    try {
      detail::add_line(line, history);
    } catch (const std::exception& error) {
      fail(path.string(), ": line ", number, ": ", error.what());
    }
  }
  return history;
}

}  // namespace moevit
