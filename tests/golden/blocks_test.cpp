/// Encoder blocks of the manifests: attention and MLP or experts.
#include "golden/typed_gradients.hpp"

using namespace moevit;
using namespace moevit::test;

namespace {

void run_block(const GoldenCase& golden) {
  auto block = TypeRegistry<AnyLayer>::instance().make(key_of(golden));
  const auto rename = [](const std::string& name) { return "Encoder/encoderblock_0/" + name; };
  load_layer(*block, renamed_parameters(golden, rename), Naming::vmoe);
  const auto& moe = golden.config.at("moe");
  RouterSettings settings;
  StoredNoise noise({}, moe.is_null() ? 1 : moe.at("num_experts").get<Index>());
  if (!moe.is_null()) {
    settings = read_router(moe.at("router"), field(golden.config, "deterministic", false));
    settings.options.group_tokens = moe.at("group_size");
    settings.options.noise = &noise;
  }
  if (golden.has("inputs/noise_unit/moe_0")) noise.add(0, golden.floats("inputs/noise_unit/moe_0"));
  const LayerResult result = run_layer(golden, *block, settings.options);
  CaseOutputs outputs(golden);
  double losses = 0;
  if (!moe.is_null()) {
    const RoutedBatch batch{result.routing(), settings, {}, settings.options.group_tokens};
    losses = compare_router(outputs, "Moe/Router/", batch, has_stable_slots(golden)).sum();
  }
  outputs.close("y", result.y, settings.options.bf16_dispatch);
  outputs.close("loss", dot(result.y, golden.floats("inputs/cotangent")) + losses, settings.options.bf16_dispatch);
  outputs.finish();
  const AddBlockLosses add_losses = [&](int, const Routing& routing, MatrixView d_logits) {
    add_losses_of_groups({routing, settings, {}, settings.options.group_tokens}, 1., d_logits);
  };
  compare_layer_gradients(golden, *block, settings.options, 1, rename, Naming::vmoe, add_losses);
}

}  // namespace

TEST_CASE("golden: encoder_block") { run_kind("encoder_block", run_block); }
