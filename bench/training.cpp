/// Training steps: forward, loss, backward, update with Adam. Three times the forward pass's multiply-adds.
#include "common.hpp"
#include "fashion_models.hpp"

#include <moevit/models/backpropagation.hpp>
#include <moevit/models/presets.hpp>
#include <moevit/train/adam.hpp>
#include <moevit/train/classification_losses.hpp>

#include <cmath>
#include <memory>

namespace moevit::bench {
namespace {

constexpr Index batch = 64;

/// Wider than the Fashion-MNIST models, for 32 pixels.
constexpr ModelDescription dense_128{
    ModelFamily::vit,
    VitConfig{.image = 32, .patch = 4, .dim = 128, .depth = 6, .heads = 4, .hidden = 512, .classes = 10},
    MoeConfig{.placement = no_blocks()}};

template <ModelDescription description>
class Step {
  static constexpr VitConfig vit = description.vit;
  using Net = Model<description>;

 public:
  Step() {
    test::randomise(net_.parameters(), 7);
    for (Index image = 0; image < batch; ++image) labels_.push_back(static_cast<std::int32_t>(image % vit.classes));
  }

  Work run(Index input) {
    set_to_zero(gradients_.parameters());
    loss_ = pass(input);
    run_.backward(net_, d_logits_, gradients_);
    optimizer_.step(net_.parameters(), gradients_.parameters(), 0.);  // all of the work, the weights stay
    return {.multiply_adds = 3. * static_cast<double>(batch) * multiply_adds(description),
            .tokens = static_cast<double>(batch * vit.tokens())};
  }

  /// The loss falls along the gradient of the classifier as that gradient's length says. Moving anything before a
  /// router could change its choices, and the loss would jump.
  void check(Index input) {
    constexpr double fall = 1e-3;
    const std::vector<Parameter> parameters = heads_of(net_), gradients = heads_of(gradients_);
    double squares = 0.;
    for (const Parameter& gradient : gradients)
      for (const float g : gradient.values()) squares += double{g} * double{g};
    const double length = std::sqrt(squares), step = fall / length;
    std::vector<std::vector<float>> before;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      before.push_back(parameters[i].values());
      std::vector<float> moved = before.back();
      const std::vector<float> slope = gradients[i].values();
      for (std::size_t k = 0; k < moved.size(); ++k) moved[k] -= static_cast<float>(step * double{slope[k]});
      parameters[i].assign(moved);
    }
    const double fallen = loss_ - pass(input), expected = fall * length;
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].assign(before[i]);
    if (!(std::abs(fallen - expected) <= 0.1 * expected))
      fail("wrong gradient: expected the loss to fall by ", expected, ", found ", fallen);
  }

 private:
  static std::vector<Parameter> heads_of(Net& net) {
    std::vector<Parameter> list = net.parameters();
    std::erase_if(list, [](const Parameter& parameter) { return parameter.role != Role::head; });
    return list;
  }

  double pass(Index input) {
    run_.forward(net_, images_[static_cast<std::size_t>(input)], logits_);
    return softmax_cross_entropy({logits_.data(), batch, vit.classes}, labels_, {d_logits_.data(), batch, vit.classes});
  }

  Net net_, gradients_;
  Backpropagation<vit, typename Net::SparsePart> run_{net_, {.images = batch}};
  Adam optimizer_{net_.parameters(), {.weight_decay = 0.05}};
  std::vector<std::vector<float>> images_ = random_inputs(batch * vit.image_values());
  std::vector<float> logits_ = std::vector<float>(batch * vit.classes), d_logits_ = logits_;
  std::vector<std::int32_t> labels_;
  double loss_ = 0.;
};

template <ModelDescription description>
void add_step(const std::string& name) {
  add("training/" + name + "/B" + std::to_string(batch), [] {
    const auto step = std::make_shared<Step<description>>();
    return Case{[step](Index input) { return step->run(input); }, [step](Index input) { step->check(input); }};
  });
}

const bool added = [] {
  add_step<fashion_vmoe>("fashion_vmoe_E8_top2");
  add_step<fashion_mobile_vmoe>("fashion_mobile_vmoe_E5");
  add_step<dense_128>("vit_6x128");
  return true;
}();

}  // namespace
}  // namespace moevit::bench
