/// What the study of Residual MoE does with a task, whatever its model types are.
#pragma once

#include "downstream/models.hpp"

#include <moevit/train/gain_scores.hpp>
#include <moevit/train/residual_pipelines.hpp>
#include <moevit/train/trainer_options.hpp>
#include <moevit/train/training_monitor.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace examples::downstream {

/// One stage of a pipeline to be trained.
struct StageRequest {
  moevit::PipelineStage stage;
  std::filesystem::path start;      ///< weights of the stage before, if there is one
  double residual_deviation = 0;    ///< noise of residuals that are upcycled
  moevit::TrainerOptions training;  ///< its folder, steps and all else
};

/// How good a model is. Detection: AP, and AP50 and AP75; segmentation: mean IoU only; upstream: accuracy.
struct Scores {
  double score = -1;
  double at_50 = -1;
  double at_75 = -1;
};

/// Sizes of a task's model.
struct ModelSize {
  double multiply_adds = 0;  ///< of one image, forward
  Index parameters = 0;
  Index active_parameters = 0;
};

/// A task of one backbone with its images: models are compiled for it.
class CompiledTask {
 public:
  virtual ~CompiledTask() = default;
  virtual Index training_images() const = 0;
  /// Trains, goes on where it was interrupted, and returns the weights file.
  virtual std::filesystem::path train(const StageRequest& request, moevit::TrainingMonitor& monitor) const = 0;
  virtual Scores validate(moevit::StageModel model, const std::filesystem::path& weights) const = 0;
  /// On test images. Throws Error when there are none.
  virtual Scores test(moevit::StageModel model, const std::filesystem::path& weights) const = 0;
  virtual ModelSize size(moevit::StageModel model) const = 0;
  /// First-order gains of splitting the blocks of a dense classifier, on validation images. Upstream only.
  virtual std::vector<moevit::BlockGain> gains(const std::filesystem::path& weights) const = 0;
};

/// Where images are, and how to take them.
struct TaskData {
  std::filesystem::path root;
  bool with_test = false;
  Index threads = 1;
};

/// Compiled in files of their own, a task or two in each.
template <Backbone backbone, Task task>
std::unique_ptr<CompiledTask> open_typed_task(const TaskData& data);

/// Throws Error when this build has no models for the task, or its images cannot be opened.
std::unique_ptr<CompiledTask> open_task(Backbone backbone, Task task, const TaskData& data);

}  // namespace examples::downstream
