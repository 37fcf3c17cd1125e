// Weights of fresh models.
#include "errors.hpp"
#include "train/tiny_training.hpp"

#include <algorithm>
#include <cmath>
#include <map>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr VitConfig config{
    .image = 16, .patch = 4, .channels = 3, .dim = 48, .depth = 2, .heads = 3, .hidden = 96, .classes = 7};
struct Net : VMoe<config, MoeConfig{.experts = 4, .selected = 2, .placement = every(2)}> {};

std::map<std::string, std::vector<float>> values_of(const InitialiseOptions& options) {
  Net net;
  initialise(net.parameters(), options);
  std::map<std::string, std::vector<float>> values;
  for (const Parameter& parameter : net.parameters()) values[parameter.name] = parameter.values();
  return values;
}
double deviation(const std::vector<float>& values) {
  double squares = 0;
  for (const float value : values) squares += double{value} * double{value};
  return std::sqrt(squares / static_cast<double>(values.size()));
}
bool all(const std::vector<float>& values, float wanted) {
  return std::all_of(values.begin(), values.end(), [&](float value) { return value == wanted; });
}

}  // namespace

TEST_CASE("fresh weights have the spread that their layers ask for") {
  auto values = values_of({.seed = 4});
  const double limit = std::sqrt(6. / (48 + 96));
  const std::vector<float>& hidden = values.at("blocks.0.mlp.hidden.kernel");
  CHECK(double{*std::max_element(hidden.begin(), hidden.end())} <= limit);
  CHECK(double{*std::max_element(hidden.begin(), hidden.end())} > 0.99 * limit);
  CHECK(deviation(hidden) == Approx(limit / std::sqrt(3.)).epsilon(0.03));
  CHECK(deviation(values.at("patch_embedding.kernel")) == Approx(std::sqrt(2. / (48 + 48))).epsilon(0.05));
  CHECK(deviation(values.at("blocks.1.moe.experts.hidden.kernel")) == Approx(std::sqrt(2. / (48 + 96))).epsilon(0.03));
  CHECK(deviation(values.at("blocks.1.moe.router.kernel")) == Approx(std::sqrt(1. / 48)).epsilon(0.15));
  CHECK(deviation(values.at("position_embedding")) == Approx(0.02).epsilon(0.07));
  CHECK(all(values.at("head.kernel"), 0.f));
  CHECK(all(values.at("head.bias"), 0.f));
  CHECK(all(values.at("class_token"), 0.f));
  CHECK(all(values.at("blocks.0.norm1.scale"), 1.f));
  CHECK(all(values.at("blocks.0.norm1.bias"), 0.f));
  CHECK(all(values.at("blocks.1.moe.experts.hidden.bias"), 0.f));
}

TEST_CASE("fresh weights depend on seed and name, and experts are equal if asked for") {
  CHECK(values_of({.seed = 4}) == values_of({.seed = 4}));
  CHECK(values_of({.seed = 4}).at("blocks.0.mlp.hidden.kernel") !=
        values_of({.seed = 5}).at("blocks.0.mlp.hidden.kernel"));
  const auto is_equal = [](ExpertStart experts) {
    const auto values = values_of({.experts = experts}).at("blocks.1.moe.experts.output.kernel");
    const auto expert = static_cast<std::ptrdiff_t>(values.size() / 4);
    return std::equal(values.begin(), values.begin() + 3 * expert, values.begin() + expert);
  };
  CHECK(is_equal(ExpertStart::equal));
  CHECK_FALSE(is_equal(ExpertStart::different));
  // Written down: the same with every compiler and standard library, up to the rounding of fused operations.
  const auto values = values_of({.seed = 4});
  CHECK(values.at("blocks.0.mlp.hidden.kernel")[1] == Approx(0.162656039f).epsilon(1e-6));
  CHECK(values.at("blocks.1.moe.router.kernel")[1] == Approx(-0.097965993f).epsilon(1e-6));
  CHECK(values.at("position_embedding")[0] == Approx(-0.0329638422f).epsilon(1e-6));
}

TEST_CASE("mixup draws symmetric shares and partners from the seed and the step") {
  double sum = 0, squares = 0;
  constexpr int draws = 4000;
  RandomStream random(9);
  for (int i = 0; i < draws; ++i) {
    const double share = symmetric_beta(0.4, random);
    sum += share, squares += share * share;
  }
  CHECK(sum / draws == Approx(0.5).margin(0.02));
  CHECK(squares / draws - 0.25 == Approx(0.25 / 1.8).margin(0.02));  // variance 1 / (4 (2 alpha + 1))
  const Mixture one = draw_mixture(16, 0.4, 1, 5), same = draw_mixture(16, 0.4, 1, 5),
                next = draw_mixture(16, 0.4, 1, 6);
  CHECK(one.partners == same.partners);
  CHECK(one.shares == same.shares);
  CHECK(one.partners != next.partners);
}

TEST_CASE("learned positions begin as a table of sines if asked for") {
  Net net;
  initialise(net.parameters(), {.seed = 4});
  const auto parameters = net.parameters();
  start_with_sine_positions(config, parameters, 0.5f);
  for (const Parameter& parameter : parameters) {
    if (parameter.name != "position_embedding") continue;
    const std::vector<float> values = parameter.values();
    CHECK(std::all_of(values.begin(), values.begin() + 48, [](float value) { return value == 0.f; }));  // class token
    const float* patch = values.data() + (1 + 4 * 2 + 3) * 48;  // row 2, column 3
    CHECK(patch[0] == Approx(0.5 * std::sin(3.)));
    CHECK(patch[12] == Approx(0.5 * std::cos(3.)));
    CHECK(patch[24] == Approx(0.5 * std::sin(2.)));
    CHECK(patch[36 + 11] == Approx(0.5 * std::cos(2e-4)));
  }
  VitConfig without = config;
  without.positions = Positions::none;
  CHECK(error_of([&] { start_with_sine_positions(without, parameters); }) ==
        "sine positions: expected learned positions and a dim that is a multiple of 4 and at least 8, found dim 48 "
        "without learned positions");
}
