#include "downstream/study.hpp"

#include "common/settings.hpp"
#include "downstream/names.hpp"

#include <moevit/io/cpp_type.hpp>

#include <cmath>
#include <utility>

namespace examples::downstream {

namespace {

using moevit::PipelineStage, moevit::StageData, moevit::StageModel;

constexpr Index upstream_batch = 64, downstream_batch = 8;
constexpr std::uint64_t upstream_seed = 1;

std::string text(double value) { return moevit::detail::exact_text(value); }

moevit::TrainerOptions common_options(const PipelineStage& stage, const StudyOptions& study) {
  moevit::TrainerOptions options;
  options.steps = stage.training.steps;
  options.loader.batch = stage.training.batch;
  options.schedule = {
      .decay = moevit::Decay::cosine, .peak = stage.training.learning_rate, .warmup = options.steps / 20};
  options.averaging = moevit::AveragingOptions{.decay = 0.998, .warm_up = true};
  options.threads = study.threads;
  options.log_every = 50;
  options.checkpoint_every = std::max<Index>(1, std::min<Index>(500, options.steps / 4));
  if (stage.model == StageModel::dense) return options;
  options.router.aligned_gradients = true;
  options.router.losses.importance = study.balance;
  if (study.freezes_cores) options.optimizer.trains = moevit::TrainedPart::all_but_cores;
  return options;
}

moevit::TrainerOptions upstream_options(const PipelineStage& stage, const StudyOptions& study) {
  moevit::TrainerOptions options = common_options(stage, study);
  options.label_smoothing = 0.1;
  options.loader.augmentation.flip = 0.5;
  options.loader.augmentation.crop_padding = 4;
  options.evaluate_every = std::max<Index>(300, options.steps / 5);  // a short stage is evaluated at its end only
  return options;
}

/// Windows of images of 3/4 to 5/4 of the size.
moevit::TrainerOptions downstream_options(const PipelineStage& stage, const StudyOptions& study) {
  moevit::TrainerOptions options = common_options(stage, study);
  moevit::DenseAugmentation& augmentation = options.dense.augmentation;
  augmentation.min_scale = 0.75, augmentation.max_scale = 1.25;
  augmentation.place = moevit::WindowPlace::random;
  augmentation.flip = 0.5;
  options.dense.backbone_rate = study.backbone_rate;
  options.evaluate_every = std::max<Index>(1, options.steps / 3);
  return options;
}

/// What upstream stages depend on.
moevit::Fingerprint upstream_settings(const StudyOptions& options) {
  return {{"upstream epochs", text(options.upstream_epochs)},
          {"intermediate epochs", text(options.intermediate_epochs)},
          {"upstream learning rate", text(options.upstream_rate)},
          {"intermediate learning rate", text(options.intermediate_rate)},
          {"importance loss", text(options.balance)},
          {"deviation of residuals", text(options.residual_deviation)},
          {"frozen cores", text(options.freezes_cores)},
          {"experts", moevit::cpp_config(residual_experts)},
          {"residual rank", residual_rank == moevit::full_rank ? "full" : std::to_string(residual_rank)}};
}
/// What the stages of a task depend on.
moevit::Fingerprint downstream_settings(const StudyOptions& options) {
  moevit::Fingerprint settings = upstream_settings(options);
  settings["downstream epochs"] = text(options.downstream_epochs);
  settings["downstream learning rate"] = text(options.downstream_rate);
  settings["learning rate of the backbone"] = text(options.backbone_rate);
  return settings;
}

Index steps_of(double epochs, Index images, Index batch) {
  return std::max<Index>(1, std::lround(epochs * static_cast<double>(images / batch)));
}

}  // namespace

Study::Study(StudyOptions options) : options_(std::move(options)), records_(options_.output / "results.jsonl") {
  std::filesystem::create_directories(options_.output);
  const std::string backbone = name_in(backbone_names, options_.backbone);
  const std::string task = backbone + "-" + name_in(task_names, options_.task);
  require_settings(options_.output / ("settings-" + backbone + ".json"), upstream_settings(options_));
  require_settings(options_.output / ("settings-" + task + ".json"), downstream_settings(options_));
}

const CompiledTask& Study::upstream() {
  if (!upstream_)
    upstream_ = open_task(options_.backbone, Task::upstream, {options_.upstream, false, options_.threads});
  return *upstream_;
}
const CompiledTask& Study::downstream() {
  if (!downstream_)
    downstream_ =
        open_task(options_.backbone, options_.task, {options_.data, options_.looks_at_test, options_.threads});
  return *downstream_;
}
const CompiledTask& Study::task_of(const PipelineStage& stage) {
  return stage.data == StageData::upstream ? upstream() : downstream();
}

moevit::StageSteps Study::downstream_steps() {
  return {steps_of(options_.downstream_epochs, downstream().training_images(), downstream_batch), downstream_batch,
          options_.downstream_rate};
}
moevit::PipelineSteps Study::steps() {
  const Index images = upstream().training_images();
  return {{steps_of(options_.upstream_epochs, images, upstream_batch), upstream_batch, options_.upstream_rate},
          {steps_of(options_.intermediate_epochs, images, upstream_batch), upstream_batch, options_.intermediate_rate},
          downstream_steps()};
}

moevit::Pipeline Study::pipeline(const std::string& name) {
  if (name == "scratch")
    return {"scratch",
            {{"downstream", StageData::downstream, StageModel::residual_moe, moevit::StageStart::nothing,
              downstream_steps()}}};
  if (name == "dense") return moevit::dense_pipeline(steps());
  if (name == "moe") return moevit::moe_pipeline(steps());
  if (name == "rmoe-i") return moevit::rmoe_i_pipeline(steps());
  if (name == "rmoe-d") return moevit::rmoe_d_pipeline(steps());
  moevit::fail("downstream: expected the pipeline dense, moe, rmoe-i, rmoe-d or scratch, found ", name);
}

std::filesystem::path Study::folder_of(const moevit::Pipeline& part, std::uint64_t seed) const {
  const auto folder = options_.output / name_in(backbone_names, options_.backbone);
  const PipelineStage& last = part.stages.back();
  if (last.data == StageData::downstream)
    return folder / name_in(task_names, options_.task) / part.name / seed_folder(seed);
  if (part.stages.size() == 1) return folder / (last.model == StageModel::dense ? "upstream-dense" : "upstream-MoE");
  return folder / std::string("upstream-").append(part.name) / seed_folder(seed);
}

StageRequest Study::request_of(const PipelineStage& stage, std::uint64_t seed) const {
  StageRequest request{.stage = stage, .start = {}, .residual_deviation = options_.residual_deviation, .training = {}};
  request.training =
      stage.data == StageData::upstream ? upstream_options(stage, options_) : downstream_options(stage, options_);
  const bool is_shared = stage.data == StageData::upstream && stage.start == moevit::StageStart::nothing;
  request.training.seed = is_shared ? upstream_seed : seed;
  return request;
}

/// The last one of the first `count` stages. Those before it have folders and records of their own, since other
/// pipelines and seeds begin with them too.
moevit::FinishedStage Study::run_stages(const moevit::Pipeline& pipeline, std::size_t count, std::uint64_t seed,
                                        moevit::TrainingMonitor& monitor) {
  const moevit::Pipeline part{pipeline.name,
                              {pipeline.stages.begin(), pipeline.stages.begin() + static_cast<Index>(count)}};
  moevit::FinishedStage before;
  if (count > 1) before = run_stages(pipeline, count - 1, seed, monitor);
  const auto train = [&](const PipelineStage& stage, const std::filesystem::path& start,
                         const std::filesystem::path& folder) {
    if (stage != part.stages.back()) return before.weights;
    StageRequest request = request_of(stage, seed);
    request.start = start, request.training.folder = folder;
    return task_of(stage).train(request, monitor);
  };
  return moevit::run_pipeline(part, folder_of(part, seed), train).back();
}

Record Study::run(const std::string& name, std::uint64_t seed, moevit::TrainingMonitor& monitor) {
  Record record;
  record.backbone = name_in(backbone_names, options_.backbone), record.task = name_in(task_names, options_.task);
  record.pipeline = pipeline_names.at(name), record.seed = seed;
  if (const Record* known = records_.find(record)) return *known;  // without opening the images
  const moevit::Pipeline declared = pipeline(name);
  moevit::FinishedStage last;
  for (std::size_t stage = 0; stage < declared.stages.size(); ++stage) {
    last = run_stages(declared, stage + 1, seed, monitor);
    const PipelineStage& done = declared.stages[stage];
    record.core_seconds.push_back(last.core_seconds);
    const double image = moevit::training_multiply_adds(task_of(done).size(done.model).multiply_adds);
    record.multiply_adds.push_back(moevit::stage_cost(done, image));
  }
  const StageModel model = declared.stages.back().model;
  record.validation = downstream().validate(model, last.weights).score;
  if (options_.looks_at_test) {
    const Scores scores = downstream().test(model, last.weights);
    record.test = scores.score, record.test_at_50 = scores.at_50, record.test_at_75 = scores.at_75;
  }
  const ModelSize size = downstream().size(model);
  record.parameters = size.parameters, record.active_parameters = size.active_parameters;
  records_.add(record);
  return record;
}

std::vector<moevit::BlockGain> Study::gains(moevit::TrainingMonitor& monitor) {
  const moevit::Pipeline declared = pipeline("dense");
  return upstream().gains(run_stages(declared, 1, upstream_seed, monitor).weights);
}

}  // namespace examples::downstream
