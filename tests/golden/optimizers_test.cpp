/// Optimisers, clipping and learning rates against optax.
#include "golden/case_outputs.hpp"
#include "train/panel_parameters.hpp"

#include <moevit/train/adafactor.hpp>
#include <moevit/train/adam.hpp>
#include <moevit/train/clipping.hpp>
#include <moevit/train/schedule.hpp>
#include <moevit/train/sgd.hpp>

#include <cstdio>
#include <functional>

using namespace moevit;
using namespace moevit::test;

namespace {

using Step = std::function<void(const std::vector<Parameter>&, const std::vector<Parameter>&, double)>;

double number(const nlohmann::json& config, const char* name, double fallback) {
  return config.contains(name) && config[name].is_number() ? config[name].get<double>() : fallback;
}

DecayMask mask_of(const nlohmann::json& config) {
  if (!config.contains("decayed") || config["decayed"] == "all") return is_any_parameter;
  const std::vector<std::string> names = config["decayed"];
  return [names](const Parameter& parameter) {
    return std::find(names.begin(), names.end(), parameter.name) != names.end();
  };
}

template <Optimizer T>
Step step_of(T optimizer) {
  return [optimizer = std::move(optimizer)](const auto& parameters, const auto& gradients, double rate) mutable {
    optimizer.step(parameters, gradients, rate);
  };
}

/// The optimiser that a case names, "sgd", "adam", "adamw" or "adafactor", possibly with more words behind.
Step optimizer_of(const nlohmann::json& config, const std::vector<Parameter>& parameters) {
  const std::string name = config.at("optimizer");
  const double decay = number(config, "weight_decay", 0);
  if (name.starts_with("sgd"))
    return step_of(Sgd(parameters, {.momentum = number(config, "momentum", 0),
                                    .nesterov = config.contains("nesterov") && config["nesterov"] == true,
                                    .weight_decay = decay,
                                    .decays = mask_of(config)}));
  if (name.starts_with("adafactor"))
    return step_of(
        Adafactor(parameters, {.factored_from = static_cast<Index>(number(config, "min_dim_size_to_factor", 128)),
                               .decay_exponent = number(config, "decay_rate", 0.8),
                               .clip = number(config, "clipping_threshold", 1),
                               .momentum = number(config, "momentum", 0),
                               .weight_decay = decay,
                               .decays = mask_of(config)}));
  if (!name.starts_with("adam")) fail("there is no optimizer ", name);
  return step_of(Adam(parameters, {.beta1 = number(config, "b1", 0.9),
                                   .beta2 = number(config, "b2", 0.999),
                                   .epsilon = number(config, "eps", 1e-8),
                                   .weight_decay = decay,
                                   .decays = mask_of(config)}));
}

/// A number, or "warmup_cosine(init A, peak B, warmup C, total D, end E)".
Schedule schedule_of(const nlohmann::json& rate) {
  if (rate.is_number()) return {.decay = Decay::none, .peak = rate};
  Schedule schedule{.decay = Decay::cosine};
  const std::string text = rate;
  if (std::sscanf(text.c_str(), "warmup_cosine(init %lf, peak %lf, warmup %td, total %td, end %lf)", &schedule.start,
                  &schedule.peak, &schedule.warmup, &schedule.total, &schedule.end) != 5)
    fail("there is no schedule ", text);
  return schedule;
}

void run_optimizer(const GoldenCase& golden) {
  PanelParameters weights, gradients;
  for (const StoredTensor& tensor : golden.tensors.tensors()) {
    if (!tensor.name.starts_with("params/")) continue;
    const std::string name = tensor.name.substr(7);
    weights.add(name, tensor.shape, Role::mlp);
    gradients.add(name, tensor.shape, Role::mlp);
    weights.list().back().assign(golden.floats(tensor.name));
  }
  const Step step = optimizer_of(golden.config, weights.list());
  const Schedule schedule = schedule_of(golden.config.at("learning_rate"));
  const double clip = number(golden.config, "clip_norm", 0);
  CaseOutputs outputs(golden);
  for (Index i = 0; i < golden.config.at("steps").get<Index>(); ++i) {
    for (const Parameter& gradient : gradients.list())
      gradient.assign(golden.floats("inputs/grads_" + std::to_string(i) + "/" + gradient.name));
    outputs.close("global_norm_" + std::to_string(i),
                  clip > 0 ? clip_by_global_norm(gradients.list(), clip) : global_norm(gradients.list()));
    step(weights.list(), gradients.list(), schedule.at(i));
    for (const Parameter& parameter : weights.list())
      outputs.close("params_" + std::to_string(i + 1) + "/" + parameter.name, parameter.values());
  }
  CHECK(weights.padding_is_zero());
  outputs.finish();
}

void run_schedule(const GoldenCase& golden) {
  const nlohmann::json& config = golden.config;
  Schedule schedule{.end = number(config, "end_value", 0)};
  if (config.contains("transition_steps")) {
    schedule.decay = Decay::linear;
    schedule.peak = config.at("init_value");
    schedule.total = config.at("transition_steps");
  } else {
    schedule.peak = config.at("peak_value");
    schedule.start = number(config, "init_value", 0);
    schedule.warmup = static_cast<Index>(number(config, "warmup_steps", 0));
    schedule.total = config.at("total_steps");
  }
  std::vector<float> rates;
  for (const std::int32_t step : golden.integers("inputs/step")) rates.push_back(static_cast<float>(schedule.at(step)));
  CaseOutputs outputs(golden);
  REQUIRE(outputs.take("learning_rate"));
  // Rates are small: a millionth, which the usual rule allows, would be a thousandth of them.
  const Accuracy accuracy = golden.accuracy.at("outputs/learning_rate");
  expect_within(golden, "outputs/learning_rate", rates, 10 * accuracy.max_abs_error + 2e-6 * accuracy.max_abs);
  outputs.finish();
}

}  // namespace

TEST_CASE("golden: optimizer") { run_kind("optimizer", run_optimizer); }
TEST_CASE("golden: schedule") { run_kind("schedule", run_schedule); }
