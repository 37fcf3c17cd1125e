/// Runs a pipeline stage by stage, so that one which is killed goes on with the stage it was in.
#pragma once

#include <moevit/io/atomic_file.hpp>
#include <moevit/io/folder_lock.hpp>
#include <moevit/train/residual_pipelines.hpp>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// A stage that is over.
struct FinishedStage {
  std::filesystem::path weights;  ///< what the next stage begins with
  double core_seconds = 0;        ///< processor time of the process while it ran, without runs of it that were killed
};

/// Trains one stage and returns its weights file. `start`: that of the stage before, empty for StageStart::nothing;
/// `folder`: of its own. Should go on from its own checkpoint in `folder` when it was killed before, as Trainer does.
using TrainStage = std::function<std::filesystem::path(const PipelineStage& stage, const std::filesystem::path& start,
                                                       const std::filesystem::path& folder)>;

namespace detail {

/// Everything that a stage is declared with, on one line.
inline std::string declaration(const PipelineStage& stage) {
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, "%lld steps of %lld at %.17g", static_cast<long long>(stage.training.steps),
                static_cast<long long>(stage.training.batch), stage.training.learning_rate);
  constexpr const char* data[] = {"upstream", "downstream"};
  constexpr const char* models[] = {"dense", "residual MoE"};
  constexpr const char* starts[] = {"from nothing", "from the stage before", "upcycled"};
  return stage.name + ", " + data[static_cast<int>(stage.data)] + ", " + models[static_cast<int>(stage.model)] + ", " +
         starts[static_cast<int>(stage.start)] + ", " + numbers;
}

/// The record of finished stages: for each one lines with its declaration, weights file and core-seconds.
class PipelineRecord {
 public:
  /// Throws Error when there is a record, and it is one of other stages.
  PipelineRecord(std::filesystem::path path, const Pipeline& pipeline) : path_(std::move(path)) {
    for (const PipelineStage& stage : pipeline.stages) declarations_.push_back(declaration(stage));
    std::ifstream stream(path_);
    std::string stage, weights, seconds;
    while (std::getline(stream, stage)) {
      if (!std::getline(stream, weights) || !std::getline(stream, seconds))
        fail(path_.string(), ": expected three lines for each stage, found a part of them");
      const std::size_t number = finished_.size();
      if (number >= declarations_.size() || stage != declarations_[number])
        fail(path_.string(), ": expected a record of this pipeline's stage ", number + 1, ", \"",
             number < declarations_.size() ? declarations_[number] : std::string("none"), "\", found \"", stage, "\"");
      finished_.push_back({weights, std::strtod(seconds.c_str(), nullptr)});
    }
  }

  const std::vector<FinishedStage>& finished() const { return finished_; }
  void add(FinishedStage stage) {
    finished_.push_back(std::move(stage));
    std::ostringstream text;
    text.precision(17);
    for (std::size_t i = 0; i < finished_.size(); ++i)
      text << declarations_[i] << '\n' << finished_[i].weights.string() << '\n' << finished_[i].core_seconds << '\n';
    write_file(path_, text.str());
  }

 private:
  std::filesystem::path path_;
  std::vector<std::string> declarations_;
  std::vector<FinishedStage> finished_;
};

}  // namespace detail

/// Trains the stages of a pipeline that are not finished yet, each in a folder of its own in `folder`, which also gets
/// the record stages.txt. Returns all stages. Throws Error when the pipeline cannot be run, the record is of another
/// one, or a stage's weights file is not there.
///
///     const auto stages = run_pipeline(rmoe_d_pipeline(steps), "run",
///                                      [&](const PipelineStage& stage, auto& start, auto& own_folder) { ... });
inline std::vector<FinishedStage> run_pipeline(const Pipeline& pipeline, const std::filesystem::path& folder,
                                               const TrainStage& train) {
  check_pipeline(pipeline);
  std::filesystem::create_directories(folder);
  const FolderLock lock(folder);
  detail::PipelineRecord record(folder / "stages.txt", pipeline);
  const auto require = [&](const PipelineStage& stage, const std::filesystem::path& weights) {
    if (!std::filesystem::exists(weights))
      fail("pipeline ", pipeline.name, ", stage ", stage.name, ": expected its weights in ", weights.string(),
           ", found no such file");
  };
  for (std::size_t i = record.finished().size(); i < pipeline.stages.size(); ++i) {
    const PipelineStage& stage = pipeline.stages[i];
    std::filesystem::path start;
    if (stage.start != StageStart::nothing) {
      start = record.finished()[i - 1].weights;
      require(pipeline.stages[i - 1], start);
    }
    const std::filesystem::path own = folder / ("stage-" + std::to_string(i + 1));
    std::filesystem::create_directories(own);
    const std::clock_t before = std::clock();
    FinishedStage finished{train(stage, start, own), 0};
    finished.core_seconds = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    require(stage, finished.weights);
    record.add(std::move(finished));
  }
  return record.finished();
}

}  // namespace moevit
