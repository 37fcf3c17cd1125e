/// Convolutional vision transformers: maps behind their stages, class tokens, gradients with running statistics and
/// with those of the batch, namings of the weights.
#include "golden/typed_gradients.hpp"

#include <moevit/io/weights.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

std::string own_name(const std::string& name) { return name; }

std::unique_ptr<AnyModel> make_model(const GoldenCase& golden, const char* gelu) {
  return TypeRegistry<AnyModel>::instance().make(key_of(golden) + gelu);
}

/// Compares what comes out of the stages: class tokens, and the places of the maps.
class StageChecker : public Observer {
 public:
  StageChecker(CaseOutputs& outputs, const CvtConfig& cvt) : outputs_(outputs), cvt_(cvt) {}
  void block_output(int block, ConstMatrixView stream) override {
    Index stage = 0;
    while (block >= cvt_.first_block(stage + 1)) ++stage;
    if (block + 1 < cvt_.first_block(stage + 1)) return;
    const Index class_tokens = cvt_.class_tokens(stage), tokens = class_tokens + cvt_.map(stage).places();
    std::vector<float> places, class_rows;
    for (Index row = 0; row < stream.rows(); ++row) {
      std::vector<float>& part = row % tokens < class_tokens ? class_rows : places;
      part.insert(part.end(), stream.row_data(row), stream.row_data(row) + stream.cols());
    }
    outputs_.close("stage_" + std::to_string(stage), places);
    if (class_tokens > 0) outputs_.close("cls", class_rows);
  }

 private:
  CaseOutputs& outputs_;
  CvtConfig cvt_;
};

void compare_logits(CaseOutputs& outputs, std::span<const float> logits) {
  const GoldenCase& golden = outputs.golden();
  outputs.close("logits", logits);
  outputs.close("loss", cross_entropy({logits.begin(), logits.end()}, golden.integers("inputs/labels"),
                                      static_cast<std::size_t>(golden.shape("inputs/images")[0])));
}

/// Compares gradients, and the outputs of the training pass that they come from if the case is one of training.
void compare_training(CaseOutputs& outputs, const AnyModel& model, bool batch_statistics) {
  const GoldenCase& golden = outputs.golden();
  StageChecker stages(outputs, model.description().cvt);
  const Index count = golden.shape("inputs/images")[0];
  LossOfModel loss;
  if (batch_statistics) loss.prepare = [&](Context& context) { context.observer = &stages; };
  loss.d_outputs = [&](std::span<const float> logits) {
    if (batch_statistics) compare_logits(outputs, logits);
    const Index classes = std::ssize(logits) / count;
    std::vector<float> d(logits.size());
    softmax_cross_entropy({logits.data(), count, classes}, golden.integers("inputs/labels"),
                          {d.data(), count, classes});
    return d;
  };
  const std::vector<float> images = golden.floats("inputs/images");
  std::vector<float> d_images(images.size());
  const auto found = model.gradients(images, {.images = count}, loss, d_images);
  const GradientFiles files(golden, own_name, false);
  const auto wanted = make_model(golden, "#quick"), tolerances = make_model(golden, "#quick");
  // Running statistics have no gradients: both sides keep what a new model has.
  std::vector<std::string> statistics;
  for (const Parameter& parameter : found->parameters())
    if (parameter.role == Role::statistics) {
      statistics.push_back(parameter.name);
      CHECK(parameter.values() == std::vector<float>(static_cast<std::size_t>(parameter.size()), 0.f));
    }
  for (AnyModel* target : {wanted.get(), tolerances.get()}) {
    set_to_zero(target->parameters());
    load(*target, target == wanted.get() ? files.gradients : files.tolerances,
         {.naming = Naming::cvt, .keep = statistics});
  }
  compare_gradients(golden, found->parameters(), wanted->parameters(), tolerances->parameters());
  compare_input_gradient(golden, "images", d_images, false);
}

/// The running statistics behind one training pass.
void compare_new_statistics(CaseOutputs& outputs, AnyModel& model) {
  const GoldenCase& golden = outputs.golden();
  const std::string prefix = "outputs/new/";
  model.follow_statistics(golden.floats("inputs/images"), {.images = golden.shape("inputs/images")[0]});
  std::size_t compared = 0;
  for (const Parameter& parameter : model.parameters()) {
    if (parameter.role != Role::statistics) continue;
    const auto slice = find_foreign(cvt_names, parameter.name, parameter.shape, model.description());
    REQUIRE(slice);
    REQUIRE(outputs.has("new/" + slice->name));
    outputs.close("new/" + slice->name, parameter.values());
    ++compared;
  }
  CHECK(compared > 0);
}

void run_cvt(const GoldenCase& golden) {
  const auto model = make_model(golden, "#quick");
  load(*model, renamed_parameters(golden, own_name), {.naming = Naming::cvt});
  CaseOutputs outputs(golden);
  const bool batch_statistics = model->description().cvt.batch_statistics;
  if (!batch_statistics) {
    StageChecker stages(outputs, model->description().cvt);
    compare_logits(outputs, logits_of(golden, *model, &stages));
  }
  if (batch_statistics || has_gradients(golden)) compare_training(outputs, *model, batch_statistics);
  if (batch_statistics) compare_new_statistics(outputs, *model);
  outputs.finish();
}

void run_names(const GoldenCase& golden) {
  CaseOutputs outputs(golden);
  REQUIRE(!golden.extra_files.empty());
  for (const std::string& file : golden.extra_files) {
    INFO(file);
    for (const char* gelu : {"#quick", "#erf"}) {
      const auto model = make_model(golden, gelu);
      const LoadReport report = load(*model, golden.directory / file);
      INFO(report.naming);
      outputs.close(gelu == std::string("#quick") ? "logits" : "logits_erf_gelu", logits_of(golden, *model, nullptr));
    }
  }
  outputs.finish();
}

}  // namespace

TEST_CASE("golden: cvt") { run_kind("cvt", run_cvt); }

TEST_CASE("golden: cvt_names") { run_kind("cvt_names", run_names); }
