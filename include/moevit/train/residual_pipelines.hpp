/// The four ways to a downstream model that Residual MoE compares, each as one declaration: what is trained on what,
/// from where, and what that costs.
///
/// Source: Wu et al. 2022, section 3: "Non-MoE", "MoE", "RMoE-I" and "RMoE-D". Their numbers of steps and learning
/// rates are the caller's; only the order of the stages is the paper's.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/models/counts.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace moevit {

enum class StageData : unsigned char { upstream, downstream };
enum class StageModel : unsigned char { dense, residual_moe };
/// What a stage's weights begin with.
enum class StageStart : unsigned char {
  nothing,   ///< drawn at random
  previous,  ///< those of the stage before, a model of the same kind
  upcycled   ///< those of the stage before, a dense model: its MLPs are the cores, see upcycle()
};

/// Steps of one stage.
struct StageSteps {
  Index steps = 0;
  Index batch = 1;  ///< images of a step
  double learning_rate = 1e-3;

  constexpr bool operator==(const StageSteps&) const = default;
};

/// One training run of a pipeline.
struct PipelineStage {
  std::string name;
  StageData data = StageData::upstream;
  StageModel model = StageModel::dense;
  StageStart start = StageStart::nothing;
  StageSteps training = {};

  bool operator==(const PipelineStage&) const = default;
};

/// Stages one after the other.
struct Pipeline {
  std::string name;
  std::vector<PipelineStage> stages;

  bool operator==(const Pipeline&) const = default;
};

/// How long the stages of all four pipelines are.
struct PipelineSteps {
  StageSteps upstream;      ///< pre-training, dense or with experts
  StageSteps intermediate;  ///< RMoE-I: fine-tuning with experts on the upstream data
  StageSteps downstream;
};

namespace detail {

inline PipelineStage downstream_stage(StageModel model, StageStart start, const PipelineSteps& steps) {
  return {"downstream", StageData::downstream, model, start, steps.downstream};
}
inline PipelineStage dense_pre_training(const PipelineSteps& steps) {
  return {"dense pre-training", StageData::upstream, StageModel::dense, StageStart::nothing, steps.upstream};
}

}  // namespace detail

/// No experts at all: what the others are compared with.
inline Pipeline dense_pipeline(const PipelineSteps& steps) {
  return {
      "dense",
      {detail::dense_pre_training(steps), detail::downstream_stage(StageModel::dense, StageStart::previous, steps)}};
}
/// Experts from the start.
inline Pipeline moe_pipeline(const PipelineSteps& steps) {
  return {"MoE",
          {{"sparse pre-training", StageData::upstream, StageModel::residual_moe, StageStart::nothing, steps.upstream},
           detail::downstream_stage(StageModel::residual_moe, StageStart::previous, steps)}};
}
/// Dense pre-training, a short fine-tuning with experts on the same data, then downstream.
inline Pipeline rmoe_i_pipeline(const PipelineSteps& steps) {
  return {"RMoE-I",
          {detail::dense_pre_training(steps),
           {"intermediate fine-tuning", StageData::upstream, StageModel::residual_moe, StageStart::upcycled,
            steps.intermediate},
           detail::downstream_stage(StageModel::residual_moe, StageStart::previous, steps)}};
}
/// Dense pre-training; experts come with the downstream task.
inline Pipeline rmoe_d_pipeline(const PipelineSteps& steps) {
  return {"RMoE-D",
          {detail::dense_pre_training(steps),
           detail::downstream_stage(StageModel::residual_moe, StageStart::upcycled, steps)}};
}

/// Throws Error unless every stage can begin: the first one with nothing, a later one with a model of the right kind
/// before it.
inline void check_pipeline(const Pipeline& pipeline) {
  if (pipeline.stages.empty()) fail("pipeline ", pipeline.name, ": expected at least one stage, found none");
  for (std::size_t i = 0; i < pipeline.stages.size(); ++i) {
    const PipelineStage& stage = pipeline.stages[i];
    const auto refuse = [&](const char* expected) {
      fail("pipeline ", pipeline.name, ", stage ", stage.name, ": expected ", expected);
    };
    if (stage.training.steps < 1 || stage.training.batch < 1) refuse("at least one step and one image in it");
    if (stage.start == StageStart::nothing) continue;
    if (i == 0) refuse("a start with nothing, as it is the first one");
    const StageModel before = pipeline.stages[i - 1].model;
    if (stage.start == StageStart::previous && before != stage.model)
      refuse("a stage of the same kind of model before it");
    if (stage.start == StageStart::upcycled && (before != StageModel::dense || stage.model == StageModel::dense))
      refuse("a dense stage before it, and experts in it");
  }
}

/// What one image costs in a training step of each kind of model on each kind of data, in any unit: multiply-adds, or
/// core-seconds that were measured.
struct ImageCosts {
  double dense_upstream = 1;
  double sparse_upstream = 1;
  double dense_downstream = 1;
  double sparse_downstream = 1;

  double of(const PipelineStage& stage) const {
    const bool is_dense = stage.model == StageModel::dense;
    if (stage.data == StageData::upstream) return is_dense ? dense_upstream : sparse_upstream;
    return is_dense ? dense_downstream : sparse_downstream;
  }
};

/// Multiply-adds of one image in a training step, from those of its forward pass: backward takes twice as many (the
/// gradient of a product takes two of its size).
constexpr double training_multiply_adds(double forward) { return 3. * forward; }
/// Of a classifier. Capacity as in multiply_adds().
constexpr double training_multiply_adds(const ModelDescription& model, double capacity_ratio = 1.0) {
  return training_multiply_adds(multiply_adds(model, capacity_ratio));
}
/// The costs of a dense model and of the same one with experts, in multiply-adds, where both tasks have images of one
/// size. Residual experts cost what plain ones do.
constexpr ImageCosts image_costs(const ModelDescription& dense, const ModelDescription& sparse,
                                 double capacity_ratio = 1.0) {
  const double without = training_multiply_adds(dense), with = training_multiply_adds(sparse, capacity_ratio);
  return {without, with, without, with};
}

/// The cost of a stage of which one image costs `image`.
inline double stage_cost(const PipelineStage& stage, double image) {
  return static_cast<double>(stage.training.steps) * static_cast<double>(stage.training.batch) * image;
}
inline double stage_cost(const PipelineStage& stage, const ImageCosts& costs) {
  return stage_cost(stage, costs.of(stage));
}
/// The cost of all stages. Throws Error as check_pipeline() does.
inline double pipeline_cost(const Pipeline& pipeline, const ImageCosts& costs) {
  check_pipeline(pipeline);
  double sum = 0;
  for (const PipelineStage& stage : pipeline.stages) sum += stage_cost(stage, costs);
  return sum;
}
/// What a pipeline costs more than another, as a share of that one: 0.03 is "3 % extra", -0.3 "30 % saved".
inline double extra_cost(const Pipeline& pipeline, const Pipeline& other, const ImageCosts& costs) {
  return pipeline_cost(pipeline, costs) / pipeline_cost(other, costs) - 1.;
}

/// All pipelines with their costs, beside the dense one and beside experts from the start.
inline std::string cost_table(const PipelineSteps& steps, const ImageCosts& costs) {
  const Pipeline dense = dense_pipeline(steps), moe = moe_pipeline(steps);
  std::string text = "pipeline       cost  against dense  against MoE\n";
  for (const Pipeline& pipeline : {dense, moe, rmoe_i_pipeline(steps), rmoe_d_pipeline(steps)}) {
    char line[96];
    std::snprintf(line, sizeof line, "%-8s %10.3g  %+12.1f%%  %+10.1f%%\n", pipeline.name.c_str(),
                  pipeline_cost(pipeline, costs), 100. * extra_cost(pipeline, dense, costs),
                  100. * extra_cost(pipeline, moe, costs));
    text += line;
  }
  return text;
}

}  // namespace moevit
