/// The files of a training run.
#pragma once

#include <moevit/core/error.hpp>

#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace moevit {

/// What lies in the folder of a run.
class TrainingFiles {
 public:
  explicit TrainingFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

  std::filesystem::path checkpoint() const { return folder_ / "checkpoint.safetensors"; }
  /// The checkpoint before that.
  std::filesystem::path previous() const { return folder_ / "previous.safetensors"; }
  std::filesystem::path log() const { return folder_ / "log.jsonl"; }
  std::filesystem::path curves() const { return folder_ / "curves.svg"; }
  /// Weights of the best evaluation.
  std::filesystem::path best() const { return folder_ / "best.safetensors"; }
  /// Weights at the end.
  std::filesystem::path weights() const { return folder_ / "weights.safetensors"; }

  const std::filesystem::path& folder() const { return folder_; }

  /// Makes the folder where it is absent. Throws Error when the system refuses.
  void make_folder() const {
    std::error_code failure;
    std::filesystem::create_directories(folder_, failure);
    if (failure || !std::filesystem::is_directory(folder_))
      fail(folder_.string(), ": cannot be made: ", failure ? failure.message() : "it is no folder");
  }

  /// Removes what killed runs had not finished writing. While another run writes, this would take its files away.
  void remove_unfinished() const {
    std::error_code ignored;
    std::vector<std::filesystem::path> unfinished;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored))
      if (is_unfinished(entry.path().filename().string())) unfinished.push_back(entry.path());
    for (const auto& path : unfinished) std::filesystem::remove(path, ignored);
  }

  /// Gives the checkpoint a second name before it is replaced. Where the file system cannot, there is no previous one.
  void keep_previous() const {
    std::error_code ignored;
    if (!std::filesystem::exists(checkpoint(), ignored)) return;
    std::filesystem::remove(previous(), ignored);
    std::filesystem::create_hard_link(checkpoint(), previous(), ignored);
  }

 private:
  /// Whether AtomicFile made the name for one of ours.
  bool is_unfinished(const std::string& name) const {
    for (const auto& path : {checkpoint(), curves(), best(), weights()})
      if (name.starts_with(path.filename().string() + ".tmp-")) return true;
    return false;
  }

  std::filesystem::path folder_;
};

}  // namespace moevit
