/// What a training run leaves on the disk while it goes on: checkpoints, log, curves.
#pragma once

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/folder_lock.hpp>
#include <moevit/io/report/training_curves.hpp>
#include <moevit/train/checkpoint_file.hpp>
#include <moevit/train/training_files.hpp>
#include <moevit/train/training_log.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

namespace moevit {

/// Keeps the files of a run so that it can be resumed at any moment. Every failure of the system throws Error.
class TrainingRecord {
 public:
  explicit TrainingRecord(std::filesystem::path folder) : files_(std::move(folder)) {}

  const TrainingFiles& files() const { return files_; }
  /// Steps done at the last good checkpoint; -1: there is none.
  Index checkpoint_step() const { return checkpoint_step_; }
  /// A line about it, for messages.
  std::string last_good() const {
    if (checkpoint_step_ < 0) return "";
    return "\nThe last good checkpoint is " + files_.checkpoint().string() + ", of step " +
           std::to_string(checkpoint_step_);
  }

  /// Sets the state from the checkpoint, or writes the first one, of a run that begins. Throws Error when the
  /// checkpoint is damaged or of another run, see read_checkpoint(), the log does not go with it, or another run is at
  /// work in the folder.
  void begin(TrainingState& state, const Fingerprint& print) {
    files_.make_folder();
    if (!lock_) lock_.emplace(files_.folder());
    files_.remove_unfinished();
    const bool resumes = std::filesystem::exists(files_.checkpoint());
    if (!resumes && std::filesystem::exists(files_.previous()))
      fail(files_.checkpoint().string(), ": is missing, but ", files_.previous().string(),
           " is there: rename it to go on from it, or remove it to begin anew");
    if (resumes) read_back(state, print);
    log_.emplace(files_.log(), state.progress.log_bytes);
    if (resumes)
      checkpoint_step_ = state.progress.step;
    else
      checkpoint(state, print);
  }

  /// After begin().
  void checkpoint(TrainingState& state, const Fingerprint& print) {
    state.progress.log_bytes = log_->bytes();
    log_->sync();
    files_.keep_previous();  // when writing fails, both names are of the last good one
    write_checkpoint(files_.checkpoint(), state, print);
    checkpoint_step_ = state.progress.step;
  }

  /// Adds an entry to the log, after begin().
  template <class Entry>
  void add(const Entry& entry) {
    log_->add(entry);
  }

  /// Draws the log.
  void write_curves() const {
    write_file(files_.curves(), report::training_curves(read_training_log(files_.log())));
  }

 private:
  void read_back(TrainingState& state, const Fingerprint& print) const {
    try {
      read_checkpoint(files_.checkpoint(), state, print);
    } catch (const Error& error) {
      std::string message = error.what();
      try {
        read_checkpoint(files_.previous(), state, print);
        message += "\nThe checkpoint before it, " + files_.previous().string() + " of step " +
                   std::to_string(state.progress.step) + ", is sound: rename it to " +
                   files_.checkpoint().filename().string() + " to go on from it";
      } catch (const Error&) {
        // No help: absent, damaged too, or of other options as well.
      }
      throw Error(message);
    }
  }

  TrainingFiles files_;
  std::optional<FolderLock> lock_;
  std::optional<TrainingLog> log_;
  Index checkpoint_step_ = -1;
};

}  // namespace moevit
