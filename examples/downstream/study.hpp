/// The study of Residual MoE: pipelines of one backbone and task over several seeds, and their records.
#pragma once

#include "downstream/compiled_task.hpp"
#include "downstream/record.hpp"

#include <moevit/train/run_pipeline.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace examples::downstream {

/// What all runs of a study have in common.
struct StudyOptions {
  Backbone backbone = Backbone::swin;
  Task task = Task::nuclei_masks;
  std::filesystem::path upstream;  ///< folder of the upstream images, with the splits train and val
  std::filesystem::path data;      ///< of the downstream images
  std::filesystem::path output;
  double upstream_epochs = 15;
  double intermediate_epochs = 1;
  double downstream_epochs = 20;
  double upstream_rate = 2e-3;
  double intermediate_rate = 5e-4;
  double downstream_rate = 1e-3;
  double backbone_rate = 1;  ///< downstream, as a factor
  double balance = 0.01;     ///< weight of the importance loss, summed over sparse blocks
  double residual_deviation = 0;
  bool freezes_cores = false;  ///< the cores stay those of the dense model
  bool looks_at_test = false;
  Index threads = 1;
};

/// Runs stages that several pipelines share once: pre-training is of one seed, the intermediate stage of each seed and
/// backbone. What the output folder has already is not trained again.
class Study {
 public:
  /// Throws Error when the folder holds results of other options.
  explicit Study(StudyOptions options);

  /// The pipelines by their names on the command line: dense, moe, rmoe-i, rmoe-d, and scratch, which has experts and
  /// no upstream stage.
  moevit::Pipeline pipeline(const std::string& name);
  /// Trains what is missing of a pipeline and evaluates it.
  Record run(const std::string& pipeline, std::uint64_t seed, moevit::TrainingMonitor& monitor);
  /// Gains of splitting the blocks of the dense upstream model, which is trained if it is missing.
  std::vector<moevit::BlockGain> gains(moevit::TrainingMonitor& monitor);
  const Records<Record>& records() const { return records_; }

 private:
  moevit::StageSteps downstream_steps();
  moevit::PipelineSteps steps();
  const CompiledTask& upstream();
  const CompiledTask& downstream();
  const CompiledTask& task_of(const moevit::PipelineStage& stage);
  std::filesystem::path folder_of(const moevit::Pipeline& part, std::uint64_t seed) const;
  moevit::FinishedStage run_stages(const moevit::Pipeline& pipeline, std::size_t count, std::uint64_t seed,
                                   moevit::TrainingMonitor& monitor);
  StageRequest request_of(const moevit::PipelineStage& stage, std::uint64_t seed) const;

  StudyOptions options_;
  Records<Record> records_;
  std::unique_ptr<CompiledTask> upstream_, downstream_;
};

}  // namespace examples::downstream
