// Pipelines of Residual MoE: what they declare, what that costs, and that finished stages are not run again.
#include "catch.hpp"
#include "errors.hpp"
#include "io/temporary_folder.hpp"

#include <moevit/models/presets.hpp>
#include <moevit/train/run_pipeline.hpp>

#include <fstream>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr PipelineSteps steps{{1000, 64, 1e-3}, {30, 64, 1e-4}, {200, 16, 5e-5}};

/// Writes the name of the stage and what it began with.
struct Recorder {
  std::vector<std::string> calls;
  std::string killed_in;

  std::filesystem::path operator()(const PipelineStage& stage, const std::filesystem::path& start,
                                   const std::filesystem::path& folder) {
    calls.push_back(stage.name);
    if (stage.name == killed_in) throw std::runtime_error("killed");
    std::string before;
    if (!start.empty()) std::getline(std::ifstream(start), before);
    std::ofstream(folder / "weights") << before << stage.name << ';';
    return folder / "weights";
  }
};

std::string line_of(const std::filesystem::path& path) {
  std::string line;
  std::ifstream stream(path);
  std::getline(stream, line);
  return line;
}

}  // namespace

TEST_CASE("costs of pipelines follow from their declarations") {
  const ImageCosts costs{.dense_upstream = 2, .sparse_upstream = 3, .dense_downstream = 10, .sparse_downstream = 11};
  CHECK(pipeline_cost(dense_pipeline(steps), costs) == 64000. * 2 + 3200. * 10);
  CHECK(pipeline_cost(moe_pipeline(steps), costs) == 64000. * 3 + 3200. * 11);
  CHECK(pipeline_cost(rmoe_i_pipeline(steps), costs) == 64000. * 2 + 1920. * 3 + 3200. * 11);
  CHECK(pipeline_cost(rmoe_d_pipeline(steps), costs) == 64000. * 2 + 3200. * 11);
  CHECK(extra_cost(rmoe_d_pipeline(steps), dense_pipeline(steps), costs) == Approx(3200. / 160000.));
  CHECK(extra_cost(rmoe_i_pipeline(steps), dense_pipeline(steps), costs) == Approx(8960. / 160000.));
  const std::string table = cost_table(steps, costs);
  CHECK(table.find("RMoE-D") != std::string::npos);
  CHECK(table.find("+2.0%") != std::string::npos);
}

TEST_CASE("costs of models are three times their multiply-adds") {
  constexpr ModelDescription dense = presets::vit_s32;
  ModelDescription sparse = dense;
  sparse.family = ModelFamily::vmoe;
  sparse.moe = {.experts = 8, .selected = 1, .placement = last_odd(2)};
  const ImageCosts costs = image_costs(dense, sparse);
  CHECK(costs.dense_upstream == 3. * multiply_adds(dense));
  // One expert per token adds nothing but routers.
  const double routers = 3. * 2. * static_cast<double>(dense.vit.tokens() * dense.vit.dim * 8);
  CHECK(costs.sparse_upstream - costs.dense_upstream == Approx(routers));
  CHECK(extra_cost(rmoe_d_pipeline(steps), dense_pipeline(steps), costs) < 0.03);
}

TEST_CASE("pipelines whose stages cannot begin are refused") {
  const auto message = [](const Pipeline& pipeline) { return error_of([&] { check_pipeline(pipeline); }); };
  CHECK(message({"empty", {}}) == "pipeline empty: expected at least one stage, found none");
  Pipeline pipeline = rmoe_d_pipeline(steps);
  CHECK_NOTHROW(check_pipeline(pipeline));
  pipeline.stages[1].start = StageStart::previous;
  CHECK(message(pipeline) == "pipeline RMoE-D, stage downstream: expected a stage of the same kind of model before it");
  pipeline = moe_pipeline(steps);
  pipeline.stages[1].start = StageStart::upcycled;
  CHECK(message(pipeline) == "pipeline MoE, stage downstream: expected a dense stage before it, and experts in it");
  pipeline.stages[0].start = StageStart::upcycled;
  CHECK(contains(message(pipeline), "expected a start with nothing, as it is the first one"));
  pipeline.stages[0].training.steps = 0;
  CHECK(contains(message(pipeline), "expected at least one step and one image in it"));
}

TEST_CASE("a pipeline that is killed goes on with the stage it was in") {
  const TemporaryFolder folder;
  Recorder recorder;
  recorder.killed_in = "intermediate fine-tuning";
  const Pipeline pipeline = rmoe_i_pipeline(steps);
  CHECK_THROWS(run_pipeline(pipeline, folder / "run", std::ref(recorder)));
  recorder.killed_in.clear();
  const std::vector<FinishedStage> stages = run_pipeline(pipeline, folder / "run", std::ref(recorder));
  CHECK(recorder.calls == std::vector<std::string>{"dense pre-training", "intermediate fine-tuning",
                                                   "intermediate fine-tuning", "downstream"});
  REQUIRE(stages.size() == 3);
  CHECK(line_of(stages.back().weights) == "dense pre-training;intermediate fine-tuning;downstream;");
  for (const FinishedStage& stage : stages) CHECK(stage.core_seconds >= 0);
  const std::vector<FinishedStage> again = run_pipeline(pipeline, folder / "run", std::ref(recorder));
  CHECK(recorder.calls.size() == 4);
  CHECK(again.back().weights == stages.back().weights);
  CHECK(again.front().core_seconds == stages.front().core_seconds);
}

TEST_CASE("records of other pipelines, and weights that are not there, are refused") {
  const TemporaryFolder folder;
  Recorder recorder;
  run_pipeline(rmoe_d_pipeline(steps), folder / "run", std::ref(recorder));
  PipelineSteps longer = steps;
  longer.downstream.steps = 201;
  CHECK(contains(error_of([&] { run_pipeline(rmoe_d_pipeline(longer), folder / "run", std::ref(recorder)); }),
                 "201 steps of 16"));
  CHECK(contains(error_of([&] {
                   run_pipeline(dense_pipeline(steps), folder / "other",
                                [&](const PipelineStage&, auto&, auto& own) { return own / "nothing"; });
                 }),
                 "found no such file"));
}
