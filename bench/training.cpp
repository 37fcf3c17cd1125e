/// Training steps: time, memory, and how a step on two threads compares with one. Three times the forward pass's
/// multiply-adds.
#include "fashion_models.hpp"
#include "scaling.hpp"
#include "training_step.hpp"

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

/// Megabytes of a training pass over what its activations need; gradients and moments apart. Plans and gates, about a
/// megabyte here, stand in neither.
template <ModelDescription description>
std::map<std::string, double> memory_of(const std::vector<Parameter>& parameters) {
  using Passes = typename TrainingStep<description>::Passes;
  constexpr VitConfig vit = description.vit;
  constexpr RoutingOptions options = routing_options(TrainingStep<description>::Net::moe);
  constexpr Index saved = Passes::saved_bytes(options, batch, false);
  constexpr Index scratch = Passes::scratch(options, batch).total(1);
  // The gradient of the stream stands among what is saved, but is no activation.
  constexpr Index needed = saved - arena_bytes<float>(batch * vit.tokens() * vit.dim);
  Index weights = 0;
  for (const Parameter& parameter : parameters) weights += parameter.size() * static_cast<Index>(sizeof(float));
  const auto megabytes = [](Index bytes) { return 1e-6 * static_cast<double>(bytes); };
  return {{"saved_MB", megabytes(saved)},
          {"scratch_MB", megabytes(scratch)},
          {"memory_ratio", static_cast<double>(saved + scratch) / static_cast<double>(needed)},
          {"gradients_MB", megabytes(weights)},
          {"moments_MB", megabytes(2 * weights)}};
}

template <ModelDescription description>
class Step {
  static constexpr VitConfig vit = description.vit;

 public:
  explicit Step(Index threads = 1) : step_(batch, threads) { test::randomise(step_.net.parameters(), 7); }

  Work run(Index input) {
    loss_ = step_.run(images_[static_cast<std::size_t>(input)], 0.);
    return {.multiply_adds = step_.multiply_adds(), .tokens = static_cast<double>(batch * vit.tokens())};
  }

  /// The loss falls along the gradient of the classifier as that gradient's length says. Moving anything before a
  /// router could change its choices, and the loss would jump.
  void check(Index input) {
    constexpr double fall = 1e-3;
    const std::vector<Parameter> parameters = heads_of(step_.net), gradients = heads_of(step_.gradients);
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
    const double fallen = loss_ - step_.forward(images_[static_cast<std::size_t>(input)]), expected = fall * length;
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].assign(before[i]);
    if (!(std::abs(fallen - expected) <= 0.1 * expected))
      fail("wrong gradient: expected the loss to fall by ", expected, ", found ", fallen);
  }

  std::map<std::string, double> memory() { return memory_of<description>(step_.net.parameters()); }

  bool has_gradients_of(Step& other) {
    const std::vector<Parameter> mine = step_.gradients.parameters(), theirs = other.step_.gradients.parameters();
    return std::ranges::equal(mine, theirs,
                              [](const Parameter& a, const Parameter& b) { return a.values() == b.values(); });
  }

 private:
  using Net = typename TrainingStep<description>::Net;

  static std::vector<Parameter> heads_of(Net& net) {
    std::vector<Parameter> list = net.parameters();
    std::erase_if(list, [](const Parameter& parameter) { return parameter.role != Role::head; });
    return list;
  }

  TrainingStep<description> step_;
  std::vector<std::vector<float>> images_ = random_inputs(batch * vit.image_values());
  double loss_ = 0.;
};

template <ModelDescription description>
void measure_step_scaling(benchmark::State& state) {
  Step<description> one, two(2);
  measure_scaling(
      state, [&](Index input) { one.run(input); }, [&](Index input) { two.run(input); },
      [&] { return two.has_gradients_of(one); });
}

template <ModelDescription description>
void add_step(const std::string& name) {
  const std::string place = name + "/B" + std::to_string(batch);
  add("training/" + place, [] {
    const auto step = std::make_shared<Step<description>>();
    return Case{[step](Index input) { return step->run(input); }, [step](Index input) { step->check(input); },
                step->memory()};
  });
  benchmark::RegisterBenchmark(("training/scaling/" + place).c_str(), measure_step_scaling<description>)
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime();
}

const bool added = [] {
  add_step<fashion_vit>("fashion_vit");
  add_step<fashion_vmoe>("fashion_vmoe_E8_top2");
  add_step<fashion_mobile_vmoe>("fashion_mobile_vmoe_E5");
  add_step<dense_128>("vit_6x128");
  return true;
}();

}  // namespace
}  // namespace moevit::bench
