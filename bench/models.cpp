/// Whole models from normalised images to logits.
#include "common.hpp"
#include "fashion_models.hpp"
#include "reference_model.hpp"

#include <moevit/models/presets.hpp>

#include <memory>

namespace moevit::bench {
namespace {

constexpr ModelDescription vit_tiny{ModelFamily::vit, VitConfig{}, MoeConfig{.placement = no_blocks()}};

template <ModelDescription description>
struct Run {
  static constexpr VitConfig vit = description.vit;

  Index count;
  Model<description> net;
  std::vector<std::vector<float>> images = random_inputs(count * vit.image_values());
  std::vector<float> logits = std::vector<float>(static_cast<std::size_t>(count * vit.outputs()));
  Context context = net.context({.images = count});

  explicit Run(Index image_count) : count(image_count) { test::randomise(net.parameters(), 7); }

  Work run(Index input) {
    net.forward(images[static_cast<std::size_t>(input)], logits, context);
    const double outside_experts = multiply_adds(description) - detail::expert_multiply_adds(description, 1.);
    const auto in_experts =
        static_cast<double>(context.expert_rows() * 2 * vit.dim * description.moe.expert_hidden(vit));
    return {.multiply_adds = static_cast<double>(count) * outside_experts + in_experts,
            .tokens = static_cast<double>(count * vit.tokens())};
  }
  /// One image per input, at another place in the batch each time.
  void check(Index input) const {
    const Index image = (input * 3 + count - 1) % count;
    const auto values = static_cast<std::size_t>(vit.image_values());
    const std::span<const float> pixels =
        std::span(images[static_cast<std::size_t>(input)]).subspan(static_cast<std::size_t>(image) * values, values);
    const reference::Matrix expected = reference::forward(pixels, reference::Weights(net.parameters()), description);
    require_close({logits.data() + image * vit.outputs(), 1, vit.outputs()}, expected,
                  reference::rounding_tolerance(vit.hidden, vit.depth));
  }
};

template <ModelDescription description>
void add_model(const std::string& name, std::initializer_list<Index> batches) {
  for (const Index count : batches)
    add("models/" + name + "/B" + std::to_string(count), [count] {
      const auto model = std::make_shared<Run<description>>(count);
      return Case{[model](Index input) { return model->run(input); }, [model](Index input) { model->check(input); }};
    });
}

const bool added = [] {
  add_model<vit_tiny>("vit_tiny_16", {1, 8});
  add_model<presets::mobile_vmoe_12x192>("mobile_vmoe_12x192_16_last2_E10", {1, 8});
  add_model<fashion_vmoe>("fashion_vmoe_E8_top2", {64});
  add_model<fashion_mobile_vmoe>("fashion_mobile_vmoe_E5", {64});
  return true;
}();

}  // namespace
}  // namespace moevit::bench
