/// timm's vision transformer: logits with both forms of GELU, streams after the blocks, three namings of the weights.
#include "golden/typed_gradients.hpp"

#include <moevit/io/npz.hpp>
#include <moevit/io/weights.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

class StreamChecker : public Observer {
 public:
  explicit StreamChecker(CaseOutputs& outputs) : outputs_(outputs) {}
  void block_output(int block, ConstMatrixView stream) override {
    const std::span<const float> values(stream.data(), static_cast<std::size_t>(stream.size()));
    outputs_.close("block_" + std::to_string(block), values);
    last_ = RowMajorMatrix(stream);
  }
  const RowMajorMatrix& last() const { return last_; }

 private:
  CaseOutputs& outputs_;
  RowMajorMatrix last_;
};

std::string timm_name(const std::string& name) { return name; }

/// What timm calls features: all tokens after the last norm, if that comes before pooling.
void compare_features(CaseOutputs& outputs, const VitConfig& vit, RowMajorMatrix stream) {
  const GoldenCase& golden = outputs.golden();
  if (vit.final_norm == FinalNorm::before_pooling) {
    const std::vector<float> scale = golden.floats("params/norm.weight"), bias = golden.floats("params/norm.bias");
    for (Index row = 0; row < stream.rows(); ++row) {
      float* values = stream.data() + row * stream.cols();
      simd::layer_norm_row(values, stream.cols(), scale.data(), bias.data(), vit.epsilon, values);
    }
  }
  outputs.close("features", std::span<const float>(stream.data(), static_cast<std::size_t>(stream.size())));
}

/// The same weights in files under other names give the same logits.
void compare_namings(CaseOutputs& outputs, AnyModel& model) {
  const GoldenCase& golden = outputs.golden();
  for (const std::string& file : golden.extra_files) {
    INFO(file);
    const std::filesystem::path path = golden.directory / file;
    const LoadReport report = file.ends_with(".npz") ? load(model, read_npz(path)) : load(model, path);
    INFO(report.naming);
    outputs.close("logits", logits_of(golden, model, nullptr));
  }
}

void compare_vit_gradients(const GoldenCase& golden, const AnyModel& model) {
  if (!has_gradients(golden)) return;
  const GradientFiles files(golden, timm_name, false);
  const auto wanted = TypeRegistry<AnyModel>::instance().make(key_of(golden) + "#erf"),
             tolerances = TypeRegistry<AnyModel>::instance().make(key_of(golden) + "#erf");
  load(*wanted, files.gradients, {.naming = Naming::timm});
  load(*tolerances, files.tolerances, {.naming = Naming::timm});
  const std::vector<float> images = golden.floats("inputs/images");
  LossOfModel loss;
  loss.d_outputs = [&](std::span<const float> logits) {
    const Index rows = golden.shape("inputs/images")[0], classes = std::ssize(logits) / rows;
    std::vector<float> d(logits.size());
    softmax_cross_entropy({logits.data(), rows, classes}, golden.integers("inputs/labels"), {d.data(), rows, classes});
    return d;
  };
  std::vector<float> d_images(images.size());
  const auto found = model.gradients(images, {.images = golden.shape("inputs/images")[0]}, loss, d_images);
  compare_gradients(golden, found->parameters(), wanted->parameters(), tolerances->parameters());
  compare_input_gradient(golden, "images", d_images, false);
}

void run_vit(const GoldenCase& golden) {
  const TensorFile parameters = renamed_parameters(golden, timm_name);
  const auto model = TypeRegistry<AnyModel>::instance().make(key_of(golden) + "#erf");
  load(*model, parameters, {.naming = Naming::timm});
  CaseOutputs outputs(golden);
  StreamChecker streams(outputs);
  const std::vector<float> logits = logits_of(golden, *model, &streams);
  outputs.close("logits", logits);
  compare_features(outputs, model->description().vit, streams.last());
  const auto rows = static_cast<std::size_t>(golden.shape("inputs/images")[0]);
  outputs.close("loss", cross_entropy(logits, golden.integers("inputs/labels"), rows));
  compare_vit_gradients(golden, *model);
  compare_namings(outputs, *model);
  if (outputs.has("logits_tanh_gelu")) {
    const auto tanh_model = TypeRegistry<AnyModel>::instance().make(key_of(golden) + "#tanh");
    load(*tanh_model, parameters, {.naming = Naming::timm});
    outputs.close("logits_tanh_gelu", logits_of(golden, *tanh_model, nullptr));
  }
  outputs.finish();
}

}  // namespace

TEST_CASE("golden: vit") { run_kind("vit", run_vit); }
