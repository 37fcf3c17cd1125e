/// Whole models of the manifests: V-MoE, ensembles, dense ViT, Mobile V-MoE.
#include "golden/typed_gradients.hpp"

#include <moevit/io/weights.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

std::unique_ptr<AnyModel> loaded_model(const GoldenCase& golden) {
  auto model = TypeRegistry<AnyModel>::instance().make(key_of(golden));
  load(*model, renamed_parameters(golden, [](const std::string& name) { return name; }), {.naming = Naming::vmoe});
  return model;
}

/// Keeps the token stream after every block.
class KeptBlocks : public Observer {
 public:
  std::map<int, RowMajorMatrix> streams;
  void block_output(int block, ConstMatrixView stream) override { streams[block] = stream; }
};

/// Logits of inputs/images.
std::vector<float> run_model(const GoldenCase& golden, const AnyModel& model, Context& context) {
  const std::vector<float> images = golden.floats("inputs/images");
  const Index count = golden.shape("inputs/images")[0] * model.outputs_per_image();
  std::vector<float> logits(static_cast<std::size_t>(count * model.description().vit.outputs()));
  model.forward(images, logits, context);
  return logits;
}

/// The values of a matrix that lies in one piece.
std::span<const float> values_of(const ConstMatrixView& view) {
  return {view.data(), static_cast<std::size_t>(view.size())};
}

/// Streams after blocks, the normalised stream after the last one, and the bare patch embedding, where a case has them.
void compare_intermediates(CaseOutputs& outputs, AnyModel& model, const KeptBlocks& kept) {
  const GoldenCase& golden = outputs.golden();
  for (const auto& [block, stream] : kept.streams)
    outputs.close("Encoder/encoderblock_" + std::to_string(block), values_of(view_of(stream)));
  if (outputs.has("Encoder/encoder_norm")) {
    RowMajorMatrix normed = kept.streams.rbegin()->second;
    const std::vector<float> scale = golden.floats("params/Encoder/encoder_norm/scale"),
                             bias = golden.floats("params/Encoder/encoder_norm/bias");
    for (Index row = 0; row < normed.rows(); ++row)
      simd::layer_norm_row(normed.data() + row * normed.cols(), normed.cols(), scale.data(), bias.data(),
                           model.description().vit.epsilon, normed.data() + row * normed.cols());
    outputs.close("Encoder/encoder_norm", values_of(view_of(normed)));
  }
  if (outputs.has("embedding")) {
    auto embedding = TypeRegistry<AnyLayer>::instance().make(key_of(golden) + "#embedding");
    load_layer(
        *embedding,
        renamed_parameters(golden, [](const std::string& name) { return name.starts_with("embedding/") ? name : ""; }),
        Naming::vmoe);
    const std::vector<float> images = golden.floats("inputs/images");
    const Index count = golden.shape("inputs/images")[0], dim = golden.shape("outputs/embedding").back();
    std::vector<float> y(static_cast<std::size_t>(element_count(golden.shape("outputs/embedding"))));
    embedding->run({ConstMatrixView(images.data(), count, std::ssize(images) / count), count, 0, {}},
                   MatrixView(y.data(), std::ssize(y) / dim, dim));
    outputs.close("embedding", y);
  }
}

/// Compares the routing of every sparse block; returns the mean over groups of the sum of their losses.
double compare_routing(CaseOutputs& outputs, const Context& context, const RouterSettings& settings,
                       PositionOrder order) {
  std::vector<double> sums;
  for (int block = 0; block < context.depth(); ++block) {
    if (!context.is_sparse(block)) continue;
    const RoutedBatch batch{context.routing_of(block), settings, order, settings.options.group_tokens};
    const std::string path = "Encoder/encoderblock_" + std::to_string(block) + "/Moe/Router/";
    const LossesOfGroups losses = compare_router(outputs, path, batch, has_stable_slots(outputs.golden()));
    sums.resize(losses.total.size());
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += double{losses.total[i]};
  }
  double mean = 0;
  for (const double sum : sums) mean += sum / static_cast<double>(sums.size());
  return mean;
}

/// The router of a model's configuration; nothing special without sparse blocks.
RouterSettings model_router(const nlohmann::json& config) {
  const auto& encoder = config.at("encoder");
  const auto moe = field(encoder, "moe", nlohmann::json::object());
  if (!moe.contains("router")) return {};
  RouterSettings settings = read_router(moe["router"], field(config, "deterministic", false));
  settings.options.group_tokens = moe.at("group_size");
  settings.members = field(moe, "ensemble_size", field<Index>(encoder, "ensemble_size", 1));
  return settings;
}

/// The noise of the i-th sparse block from the bottom is inputs/noise_unit/moe_i.
void read_noise(const GoldenCase& golden, const Context& context, StoredNoise& noise) {
  for (int block = 0, number = 0; block < context.depth(); ++block) {
    if (!context.is_sparse(block)) continue;
    const std::string name = "inputs/noise_unit/moe_" + std::to_string(number++);
    if (golden.has(name)) noise.add(block, golden.floats(name));
  }
}

/// Compares the gradients of a model's parameters and images.
void compare_model_gradients(const GoldenCase& golden, const AnyModel& model, ContextOptions options,
                             const LossOfModel& loss, bool bf16) {
  if (!has_gradients(golden)) return;
  const auto name = [](const std::string& same) { return same; };
  const GradientFiles files(golden, name, bf16);
  const auto wanted = TypeRegistry<AnyModel>::instance().make(key_of(golden)),
             tolerances = TypeRegistry<AnyModel>::instance().make(key_of(golden));
  load(*wanted, files.gradients, {.naming = Naming::vmoe});
  load(*tolerances, files.tolerances, {.naming = Naming::vmoe});
  const std::vector<float> images = golden.floats("inputs/images");
  std::vector<float> d_images(images.size());
  const auto found = model.gradients(images, options, loss, d_images);
  compare_gradients(golden, found->parameters(), wanted->parameters(), tolerances->parameters());
  compare_input_gradient(golden, "images", d_images, bf16);
}

/// The gradient of the mean cross-entropy with each label standing for as many rows as there are members.
std::vector<float> d_cross_entropy(std::span<const float> logits, const std::vector<std::int32_t>& labels,
                                   Index classes) {
  const Index rows = std::ssize(logits) / classes, copies = rows / std::ssize(labels);
  std::vector<std::int32_t> repeated;
  for (const std::int32_t label : labels) repeated.insert(repeated.end(), static_cast<std::size_t>(copies), label);
  std::vector<float> d(logits.size());
  softmax_cross_entropy({logits.data(), rows, classes}, repeated, {d.data(), rows, classes});
  return d;
}

void run_vmoe(const GoldenCase& golden) {
  const auto model = loaded_model(golden);
  const ModelDescription description = model->description();
  RouterSettings settings = model_router(golden.config);
  const PositionOrder order{settings.members, description.vit.tokens()};
  Context context = model->context({.images = golden.shape("inputs/images")[0], .selected = settings.options.selected});
  StoredNoise noise(order, description.moe.experts);
  read_noise(golden, context, noise);
  settings.options.noise = &noise;
  context.routing = settings.options;
  KeptBlocks kept;
  context.observer = &kept;
  const std::vector<float> logits = run_model(golden, *model, context);
  const bool bf16 = settings.options.bf16_dispatch;
  CaseOutputs outputs(golden);
  outputs.close("logits", logits, bf16);
  compare_intermediates(outputs, *model, kept);
  const double auxiliary = compare_routing(outputs, context, settings, order);
  const std::size_t rows = logits.size() / static_cast<std::size_t>(description.vit.outputs());
  const double main = cross_entropy(logits, golden.integers("inputs/labels"), rows);
  outputs.close("auxiliary_loss", auxiliary, bf16);
  outputs.close("main_loss", main, bf16);
  outputs.close("loss", main + auxiliary, bf16);
  outputs.finish();
  LossOfModel loss;
  loss.prepare = [&](Context& run) { run.routing = settings.options; };
  loss.d_outputs = [&](std::span<const float> values) {
    return d_cross_entropy(values, golden.integers("inputs/labels"), description.vit.outputs());
  };
  loss.add_losses = [&](int, const Routing& routing, MatrixView d_logits) {
    const RoutedBatch batch{routing, settings, order, settings.options.group_tokens};
    add_losses_of_groups(batch, 1. / static_cast<double>(batch.groups() * settings.members), d_logits);
  };
  compare_model_gradients(
      golden, *model, {.images = golden.shape("inputs/images")[0], .selected = settings.options.selected}, loss, bf16);
}

void run_mobile(const GoldenCase& golden) {
  const auto model = loaded_model(golden);
  const Index images = golden.shape("inputs/images")[0], tokens = model->description().vit.tokens();
  Context context = model->context({.images = images, .selected = golden.config.at("k").get<Index>()});
  context.routing.selected = golden.config.at("k");
  const std::vector<float> logits = run_model(golden, *model, context);
  const Routing& routing = context.routings().front();
  std::vector<std::int32_t> experts;
  std::vector<float> weights;
  for (const Choice& choice : routing.plan.choices()) {
    if (choice.token % tokens != 0) continue;
    experts.push_back(choice.expert);
    weights.push_back(choice.gate);
  }
  CaseOutputs outputs(golden);
  outputs.equal("expert", experts);
  outputs.close("weight", weights);
  outputs.close("gates", values_of(routing.gates()));
  outputs.close("router_logits", values_of(routing.logits()));
  outputs.close("logits", logits);
  const auto rows = static_cast<std::size_t>(images);
  const double main = cross_entropy(logits, golden.integers("inputs/labels"), rows);
  const double super_class = cross_entropy(values_of(routing.logits()), golden.integers("inputs/super_class"), rows);
  outputs.close("main_loss", main);
  outputs.close("super_class_loss", super_class);
  const double weight = golden.config.at("super_class_loss_weight");
  outputs.close("loss", main + weight * super_class);
  outputs.finish();
  LossOfModel loss;
  loss.prepare = [&](Context& run) { run.routing.selected = golden.config.at("k"); };
  loss.d_outputs = [&](std::span<const float> values) {
    return d_cross_entropy(values, golden.integers("inputs/labels"), model->description().vit.outputs());
  };
  loss.add_losses = [&](int, const Routing& record, MatrixView d_logits) {
    add_router_cross_entropy(record.logits(), golden.integers("inputs/super_class"), weight, d_logits);
  };
  compare_model_gradients(golden, *model, {.images = images, .selected = golden.config.at("k").get<Index>()}, loss,
                          false);
}

}  // namespace

TEST_CASE("golden: model") { run_kind("model", run_vmoe); }
TEST_CASE("golden: mobile_model") { run_kind("mobile_model", run_mobile); }
