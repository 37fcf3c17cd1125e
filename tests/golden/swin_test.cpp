/// Swin transformers: classifiers with the streams after their blocks, backbones with padding, namings of the weights.
#include "golden/case_gradients.hpp"
#include "golden/case_outputs.hpp"
#include "golden/typed_backbone.hpp"
#include "golden/typed_gradients.hpp"

#include <moevit/io/weights.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

std::string own_name(const std::string& name) { return name; }

std::span<const float> values_of(ConstMatrixView stream) {
  return {stream.data(), static_cast<std::size_t>(stream.size())};
}

/// Compares what enters the first stage, and what comes out of blocks and stages.
class StageChecker : public Observer {
 public:
  StageChecker(CaseOutputs& outputs, const SwinConfig& swin) : outputs_(outputs), swin_(swin) {}
  void stage_input(int stage, ConstMatrixView stream) override {
    if (stage != 0) return;
    RowMajorMatrix embedding(stream);
    if (swin_.absolute_positions) take_positions(embedding);  // which the reference adds behind it
    outputs_.close("patch_embed", MatrixView(embedding.data(), embedding.rows(), embedding.cols()));
  }
  void block_output(int block, ConstMatrixView stream) override {
    Index stage = 0;
    while (block >= swin_.first_block(stage + 1)) ++stage;
    const Index own = block - swin_.first_block(stage);
    const std::string name = "stage_" + std::to_string(stage);
    outputs_.close(name + "_block_" + std::to_string(own), values_of(stream));
    if (own + 1 == swin_.depth(stage)) outputs_.close(name, values_of(stream));
    last_ = RowMajorMatrix(stream);
  }
  const RowMajorMatrix& last() const { return last_; }

 private:
  void take_positions(RowMajorMatrix& embedding) const {
    const std::vector<float> table = outputs_.golden().floats("params/absolute_pos_embed");
    for (Index i = 0; i < embedding.size(); ++i)
      embedding.data()[i] -= table[static_cast<std::size_t>(i) % table.size()];
  }

  CaseOutputs& outputs_;
  SwinConfig swin_;
  RowMajorMatrix last_;
};

/// The last map behind the final norm, and its mean over the places.
void compare_features(CaseOutputs& outputs, const SwinConfig& swin, RowMajorMatrix stream) {
  const GoldenCase& golden = outputs.golden();
  const std::vector<float> scale = golden.floats("params/norm.weight"), bias = golden.floats("params/norm.bias");
  const Index places = swin.map(swin.stages() - 1).places();
  RowMajorMatrix pooled = RowMajorMatrix::Zero(stream.rows() / places, stream.cols());
  for (Index row = 0; row < stream.rows(); ++row) {
    float* values = stream.data() + row * stream.cols();
    simd::layer_norm_row(values, stream.cols(), scale.data(), bias.data(), swin.epsilon, values);
    for (Index i = 0; i < stream.cols(); ++i) pooled(row / places, i) += values[i] / static_cast<float>(places);
  }
  outputs.close("norm", MatrixView(stream.data(), stream.rows(), stream.cols()));
  outputs.close("pooled", MatrixView(pooled.data(), pooled.rows(), pooled.cols()));
}

void compare_classifier_gradients(const GoldenCase& golden, const AnyModel& model) {
  if (!has_gradients(golden)) return;
  const GradientFiles files(golden, own_name, false);
  const auto wanted = TypeRegistry<AnyModel>::instance().make(key_of(golden)),
             tolerances = TypeRegistry<AnyModel>::instance().make(key_of(golden));
  load(*wanted, files.gradients, {.naming = Naming::swin});
  load(*tolerances, files.tolerances, {.naming = Naming::swin});
  const std::vector<float> images = golden.floats("inputs/images");
  const Index count = golden.shape("inputs/images")[0];
  LossOfModel loss;
  loss.d_outputs = [&](std::span<const float> logits) {
    const Index classes = std::ssize(logits) / count;
    std::vector<float> d(logits.size());
    softmax_cross_entropy({logits.data(), count, classes}, golden.integers("inputs/labels"),
                          {d.data(), count, classes});
    return d;
  };
  std::vector<float> d_images(images.size());
  const auto found = model.gradients(images, {.images = count}, loss, d_images);
  compare_gradients(golden, found->parameters(), wanted->parameters(), tolerances->parameters());
  compare_input_gradient(golden, "images", d_images, false);
}

void run_classifier(const GoldenCase& golden) {
  const auto model = TypeRegistry<AnyModel>::instance().make(key_of(golden));
  load(*model, renamed_parameters(golden, own_name), {.naming = Naming::swin});
  CaseOutputs outputs(golden);
  const SwinConfig swin = model->description().swin;
  StageChecker streams(outputs, swin);
  const std::vector<float> logits = logits_of(golden, *model, &streams);
  outputs.close("logits", logits);
  compare_features(outputs, swin, streams.last());
  const auto rows = static_cast<std::size_t>(golden.shape("inputs/images")[0]);
  outputs.close("loss", cross_entropy(logits, golden.integers("inputs/labels"), rows));
  compare_classifier_gradients(golden, *model);
  outputs.finish();
}

void run_names(const GoldenCase& golden) {
  CaseOutputs outputs(golden);
  REQUIRE(!golden.extra_files.empty());
  for (const std::string& file : golden.extra_files) {
    INFO(file);
    const auto model = TypeRegistry<AnyModel>::instance().make(key_of(golden));
    const LoadReport report = load(*model, golden.directory / file);
    INFO(report.naming);
    outputs.close("logits", logits_of(golden, *model, nullptr));
  }
  outputs.finish();
}

/// One matrix per stage.
struct Maps {
  std::vector<RowMajorMatrix> matrices;

  std::vector<MatrixView> views() {
    std::vector<MatrixView> views;
    for (RowMajorMatrix& matrix : matrices) views.emplace_back(matrix.data(), matrix.rows(), matrix.cols());
    return views;
  }
};

void compare_backbone_gradients(const GoldenCase& golden, const AnyBackbone& model, MapSize size, Maps& maps) {
  if (!has_gradients(golden)) return;
  const GradientFiles files(golden, own_name, false);
  const auto wanted = model.same_type(), tolerances = model.same_type(), found = model.same_type();
  const ModelDescription description = model.description();
  load_parameters(wanted->parameters(), description, files.gradients, {.naming = Naming::swin});
  load_parameters(tolerances->parameters(), description, files.tolerances, {.naming = Naming::swin});
  set_to_zero(found->parameters());
  std::vector<RowMajorMatrix> cotangents;
  std::vector<ConstMatrixView> d_maps;
  for (std::size_t stage = 0; stage < maps.matrices.size(); ++stage) {
    const std::string name = "inputs/cotangent_" + std::to_string(stage);
    cotangents.push_back(golden.has(name) ? matrix_of(golden, name) : RowMajorMatrix());
  }
  for (const RowMajorMatrix& matrix : cotangents) d_maps.emplace_back(matrix.data(), matrix.rows(), matrix.cols());
  const std::vector<float> images = golden.floats("inputs/images");
  std::vector<float> d_images(images.size());
  model.gradients(images, size, maps.views(), d_maps, *found, d_images);
  compare_gradients(golden, found->parameters(), wanted->parameters(), tolerances->parameters());
  compare_input_gradient(golden, "images", d_images, false);
}

void run_backbone(const GoldenCase& golden) {
  const auto model = TypeRegistry<AnyBackbone>::instance().make(key_of(golden));
  load_parameters(model->parameters(), model->description(), renamed_parameters(golden, own_name),
                  {.naming = Naming::swin});
  const Shape& shape = golden.shape("inputs/images");
  const MapSize size{shape[1], shape[2]};
  const std::vector<float> images = golden.floats("inputs/images");
  const std::vector<MapSize> sizes = model->map_sizes(size);
  const std::vector<Index> widths = model->widths();
  Maps maps;
  for (std::size_t stage = 0; stage < widths.size(); ++stage) {
    const bool wanted = golden.has("outputs/out_" + std::to_string(stage));
    maps.matrices.emplace_back(wanted ? shape[0] * sizes[stage + 1].places() : 0, widths[stage]);
  }
  model->forward_maps(images, size, maps.views(), 2);
  CaseOutputs outputs(golden);
  double loss = 0;
  for (std::size_t stage = 0; stage < maps.matrices.size(); ++stage) {
    const std::span<const float> values(maps.matrices[stage].data(),
                                        static_cast<std::size_t>(maps.matrices[stage].size()));
    if (values.empty()) continue;
    outputs.close("out_" + std::to_string(stage), values);
    loss += dot(values, golden.floats("inputs/cotangent_" + std::to_string(stage)));
  }
  outputs.close("loss", loss);
  compare_backbone_gradients(golden, *model, size, maps);
  outputs.finish();
}

}  // namespace

TEST_CASE("golden: swin_classifier") { run_kind("swin_classifier", run_classifier); }

TEST_CASE("golden: swin_backbone") { run_kind("swin_backbone", run_backbone); }

TEST_CASE("golden: swin_names") { run_kind("swin_names", run_names); }
