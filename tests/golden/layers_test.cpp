/// Sparse layers of the manifests: router and experts of one block.
#include "golden/typed_gradients.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

/// The names that a layer's parameters would have in block 0 of a model of the reference.
std::function<std::string(const std::string&)> name_in_model(const GoldenCase& golden) {
  const bool of_model = golden.kind == "per_image_layer";
  return [of_model](const std::string& name) {
    return (of_model && name.starts_with("Router/") ? "Encoder/" : "Encoder/encoderblock_0/Moe/") + name;
  };
}

std::unique_ptr<AnyLayer> loaded_layer(const GoldenCase& golden) {
  auto layer = TypeRegistry<AnyLayer>::instance().make(key_of(golden));
  load_layer(*layer, renamed_parameters(golden, name_in_model(golden)), Naming::vmoe);
  return layer;
}

void compare_gradients_of(const GoldenCase& golden, const RoutingOptions& options, Index copies = 1,
                          const AddBlockLosses& add_losses = {}) {
  compare_layer_gradients(golden, *loaded_layer(golden), options, copies, name_in_model(golden), Naming::vmoe,
                          add_losses);
}

/// moe_layer and ensemble_layer.
void run_moe_layer(const GoldenCase& golden) {
  RouterSettings settings = read_router(golden.config.at("router"), field(golden.config, "deterministic", false));
  settings.options.group_tokens = golden.config.at("group_size");
  settings.members = field<Index>(golden.config, "ensemble_size", 1);
  const PositionOrder order{settings.members, golden.shape("inputs/x")[1]};
  StoredNoise noise(order, golden.config.at("num_experts"));
  if (golden.has("inputs/noise_unit/moe_0")) noise.add(0, golden.floats("inputs/noise_unit/moe_0"));
  settings.options.noise = &noise;
  const LayerResult result = run_layer(golden, *loaded_layer(golden), settings.options, settings.members);
  const RoutedBatch batch{result.routing(), settings, order, settings.options.group_tokens};
  if (golden.config.contains("capacity")) CHECK(batch.plan().capacity() == golden.config["capacity"].get<Index>());
  CaseOutputs outputs(golden);
  const LossesOfGroups losses = compare_router(outputs, "Router/", batch, has_stable_slots(golden));
  outputs.close("y", result.y, settings.options.bf16_dispatch);
  outputs.close("loss", dot(result.y, golden.floats("inputs/cotangent")) + losses.sum(),
                settings.options.bf16_dispatch);
  outputs.finish();
  compare_gradients_of(golden, settings.options, settings.members,
                       [&](int, const Routing& routing, MatrixView d_logits) {
                         add_losses_of_groups({routing, settings, order, settings.options.group_tokens}, 1., d_logits);
                       });
}

/// Dispatch weights of all groups in the reference's order, (G, S, E, P).
std::vector<float> dispatch_weights(const SoftPlan& plan) {
  std::vector<float> weights;
  for (Index group = 0; group < plan.groups; ++group)
    for (Index token = 0; token < plan.group; ++token)
      for (Index slot = 0; slot < plan.experts * plan.slots; ++slot)
        weights.push_back(plan.dispatch_of(group)(slot, token));
  return weights;
}

void run_soft_layer(const GoldenCase& golden) {
  RoutingOptions options;
  options.group_tokens = golden.config.at("group_size");
  const auto layer = loaded_layer(golden);
  const LayerResult result = run_layer(golden, *layer, options);
  const SoftPlan& plan = result.routing().soft;
  CHECK(plan.slots == golden.config.at("slots_per_expert").get<Index>());
  CaseOutputs outputs(golden);
  outputs.close("dispatch_weights", dispatch_weights(plan));
  outputs.close("combine_weights", std::span(plan.combine.data(), static_cast<std::size_t>(plan.groups * plan.group *
                                                                                           plan.experts * plan.slots)));
  outputs.close("y", result.y);
  outputs.close("loss", dot(result.y, golden.floats("inputs/cotangent")));
  options.bf16_dispatch = true;
  outputs.close_bf16("y_bfloat16_dispatch", run_layer(golden, *layer, options).y);
  outputs.finish();
  options.bf16_dispatch = false;
  compare_gradients_of(golden, options);
}

/// Experts and gates of the k choices of every row that the router saw: tokens, or images of `tokens_per_row` tokens.
void compare_choices(CaseOutputs& outputs, const Routing& routing, Index tokens_per_row, const char* gate_name,
                     bool of_plan) {
  std::vector<std::int32_t> experts;
  std::vector<float> gates;
  for (const Choice& choice : routing.plan.choices()) {
    if (choice.token % tokens_per_row != 0) continue;
    experts.push_back(choice.expert);
    gates.push_back(of_plan ? choice.gate : routing.gates()(choice.token / tokens_per_row, choice.expert));
  }
  outputs.equal("expert", experts);
  outputs.close(gate_name, gates);
  outputs.close("gates",
                std::span<const float>(routing.gates().data(), static_cast<std::size_t>(routing.gates().size())));
  outputs.close("logits",
                std::span<const float>(routing.logits().data(), static_cast<std::size_t>(routing.logits().size())));
}

void run_per_image_layer(const GoldenCase& golden) {
  RoutingOptions options;
  options.selected = golden.config.at("num_selected_experts");
  options.scale_by_gate = golden.config.at("scale_by_gate");
  const LayerResult result = run_layer(golden, *loaded_layer(golden), options);
  const Routing& routing = result.routing();
  CaseOutputs outputs(golden);
  compare_choices(outputs, routing, golden.shape("inputs/x")[1], "weight", false);
  const auto rows = static_cast<std::size_t>(routing.logits().rows());
  const double super_class_loss =
      cross_entropy({routing.logits().data(), static_cast<std::size_t>(routing.logits().size())},
                    golden.integers("inputs/super_class"), rows);
  outputs.close("super_class_loss", super_class_loss);
  outputs.close("y", result.y);
  const double weight = golden.config.at("super_class_loss_weight");
  outputs.close("loss", dot(result.y, golden.floats("inputs/cotangent")) + weight * super_class_loss);
  outputs.finish();
  compare_gradients_of(golden, options, 1, [&](int, const Routing& record, MatrixView d_logits) {
    add_router_cross_entropy(record.logits(), golden.integers("inputs/super_class"), weight, d_logits);
  });
}

void run_dropless_layer(const GoldenCase& golden) {
  RoutingOptions options;
  options.selected = golden.config.at("num_selected_experts");
  options.renormalise = golden.config.at("renormalise");
  const LayerResult result = run_layer(golden, *loaded_layer(golden), options);
  CaseOutputs outputs(golden);
  compare_choices(outputs, result.routing(), 1, "weight", true);
  outputs.close("y", result.y);
  outputs.close("y_reference_layer", result.y);
  outputs.close("loss", dot(result.y, golden.floats("inputs/cotangent")));
  outputs.finish();
  compare_gradients_of(golden, options);
}

/// Our name of a parameter of the residual layer: fc1 is the hidden layer, fc2 the output layer.
std::string residual_name(const std::string& theirs) {
  if (theirs == "router/kernel") return "blocks.0.moe.router.kernel";
  std::string name = "blocks.0.moe.experts." + theirs;
  std::replace(name.begin(), name.end(), '/', '.');
  for (const auto& [from, to] : {std::pair{"fc1", "hidden"}, std::pair{"fc2", "output"}})
    if (const auto place = name.find(from); place != std::string::npos) name.replace(place, 3, to);
  return name;
}

void run_residual_layer(const GoldenCase& golden) {
  auto layer = TypeRegistry<AnyLayer>::instance().make(key_of(golden));
  load_layer(*layer, renamed_parameters(golden, residual_name), Naming::own);
  RoutingOptions options;
  options.selected = golden.config.at("num_selected_experts");
  options.scale_by_gate = false;  // outputs add up unweighted; gates matter to gradients only
  const LayerResult result = run_layer(golden, *layer, options);
  CaseOutputs outputs(golden);
  compare_choices(outputs, result.routing(), 1, "gate", false);
  outputs.close("y", result.y);
  outputs.close("loss", dot(result.y, golden.floats("inputs/cotangent")));
  outputs.finish();
  options.aligned_gradients = true;
  compare_layer_gradients(golden, *layer, options, 1, residual_name, Naming::own, {});
}

}  // namespace

TEST_CASE("golden: moe_layer") { run_kind("moe_layer", run_moe_layer); }
TEST_CASE("golden: ensemble_layer") { run_kind("ensemble_layer", run_moe_layer); }
TEST_CASE("golden: soft_moe_layer") { run_kind("soft_moe_layer", run_soft_layer); }
TEST_CASE("golden: per_image_layer") { run_kind("per_image_layer", run_per_image_layer); }
TEST_CASE("golden: dropless_layer") { run_kind("dropless_layer", run_dropless_layer); }
TEST_CASE("golden: residual_moe_layer") { run_kind("residual_moe_layer", run_residual_layer); }
