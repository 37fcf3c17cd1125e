/// Optimisers, clipping and averaging on parameters in panels.
#include "catch.hpp"
#include "random_values.hpp"
#include "train/panel_parameters.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/train/adafactor.hpp>
#include <moevit/train/adam.hpp>
#include <moevit/train/averaging.hpp>
#include <moevit/train/clipping.hpp>
#include <moevit/train/sgd.hpp>

#include <limits>

using namespace moevit;
using namespace moevit::test;

static_assert(Optimizer<Sgd> && Optimizer<Adam> && Optimizer<Adafactor>);

namespace {

/// Parameters of awkward sizes, filled with normal values: one column, one more than a panel, a stack, vectors, a
/// scalar.
PanelParameters awkward_parameters(unsigned seed) {
  PanelParameters parameters;
  parameters.add("first.kernel", {5, 1}, Role::mlp);
  parameters.add("second.kernel", {3, 33}, Role::attention);
  parameters.add("experts.kernel", {2, 3, 70}, Role::expert);
  parameters.add("experts.bias", {2, 7}, Role::expert);
  parameters.add("router.kernel", {4, 6}, Role::router);
  parameters.add("norm.scale", {17}, Role::norm);
  parameters.add("scale", {}, Role::router);
  for (Parameter& parameter : parameters.list()) parameter.assign(normal_values(parameter.size(), seed++));
  return parameters;
}

std::vector<float> all_values(const std::vector<Parameter>& parameters) {
  std::vector<float> all;
  for (const Parameter& parameter : parameters) {
    const std::vector<float> values = parameter.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

template <class State>
std::vector<float> all_state(State& owner) {
  std::vector<float> all;
  owner.each_state(
      [&](const std::string&, std::span<float> values) { all.insert(all.end(), values.begin(), values.end()); });
  return all;
}

/// Three steps leave the padding alone, and an optimiser that takes over state and count after two goes on with the
/// same bits.
template <class T, class Options>
void check_resumes(const Options& options) {
  PanelParameters whole = awkward_parameters(1), parts = awkward_parameters(1), gradients = awkward_parameters(50);
  T optimizer(whole.list(), options), first(parts.list(), options), second(parts.list(), options);
  for (int step = 0; step < 3; ++step) optimizer.step(whole.list(), gradients.list(), 0.1);
  for (int step = 0; step < 2; ++step) first.step(parts.list(), gradients.list(), 0.1);
  std::vector<float> state = all_state(first);
  std::size_t place = 0;
  second.each_state([&](const std::string&, std::span<float> values) {
    std::copy_n(state.begin() + static_cast<Index>(place), values.size(), values.begin());
    place += values.size();
  });
  CHECK(place == state.size());
  second.set_steps(first.steps());
  second.step(parts.list(), gradients.list(), 0.1);
  CHECK(all_values(whole.list()) == all_values(parts.list()));
  CHECK(all_state(optimizer) == all_state(second));
  CHECK(optimizer.steps() == 3);
  CHECK(all_values(whole.list()) != all_values(awkward_parameters(1).list()));
  CHECK(whole.padding_is_zero());
}

template <class Optimize>
std::string message_of(Optimize optimize) {
  try {
    optimize();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("runs of a parameter are its elements in logical order") {
  PanelParameters parameters = awkward_parameters(1);
  for (const Parameter& parameter : parameters.list()) {
    CAPTURE(parameter.name);
    std::vector<float> values;
    visit_runs(parameter, [&](Index logical, const float* elements, Index count) {
      CHECK(logical == std::ssize(values));
      values.insert(values.end(), elements, elements + count);
    });
    CHECK(values == parameter.values());
  }
}

TEST_CASE("runs of a parameter that is some columns of a matrix") {
  Linear<3, 70> layer;
  const Parameter part = Linear<3, 70>::columns(layer, "part", 30, 40, Role::mlp);
  part.assign(normal_values(120, 1));
  std::vector<float> values;
  visit_runs(part, [&](Index, const float* elements, Index count) {
    values.insert(values.end(), elements, elements + count);
  });
  CHECK(values == part.values());
}

TEST_CASE("optimisers keep the padding, give the same bits and go on from their state") {
  check_resumes<Sgd>(SgdOptions{});
  check_resumes<Sgd>(SgdOptions{.momentum = 0.9, .nesterov = true, .weight_decay = 0.1});
  check_resumes<Adam>(AdamOptions{.weight_decay = 0.1});
  check_resumes<Adafactor>(AdafactorOptions{.factored_from = 3, .momentum = 0.9, .weight_decay = 0.1});
  check_resumes<Adafactor>(AdafactorOptions{});
}

TEST_CASE("the first steps of Sgd and Adam by hand") {
  const auto one = [](float value) {
    PanelParameters parameters;
    parameters.add("kernel", {1, 1}, Role::mlp);
    parameters.list()[0].assign(std::vector<float>{value});
    return parameters;
  };
  PanelParameters x = one(2.f), g = one(0.5f);
  Sgd sgd(x.list(), {.momentum = 0.5, .weight_decay = 0.25});
  sgd.step(x.list(), g.list(), 0.1);  // 2 - 0.1 (0.5 + 0.25 * 2)
  CHECK(x.list()[0].values()[0] == Approx(1.9));
  sgd.step(x.list(), g.list(), 0.1);  // 1.9 - 0.1 (0.5 + 0.5 * 0.5 + 0.25 * 1.9)
  CHECK(x.list()[0].values()[0] == Approx(1.7775));
  x = one(2.f);
  Adam adam(x.list(), {.weight_decay = 0.25});
  adam.step(x.list(), g.list(), 0.1);  // the first step is the rate whatever the gradient: 2 - 0.1 (1 + 0.25 * 2)
  CHECK(x.list()[0].values()[0] == Approx(1.85));
}

TEST_CASE("Adafactor: a factored matrix of rank one is preconditioned as the whole") {
  // Squares of the gradient u v^T are a product, so that row and column moments say all.
  const auto filled = [](float factor, Index rows, Index cols) {
    PanelParameters parameters;
    parameters.add("kernel", {rows, cols}, Role::mlp);
    std::vector<float> values;
    for (Index row = 0; row < rows; ++row)
      for (Index col = 0; col < cols; ++col)
        values.push_back(factor * static_cast<float>(row + 1) * static_cast<float>(col % 2 ? -2 - col : 1 + col));
    parameters.list()[0].assign(values);
    return parameters;
  };
  PanelParameters a = filled(0.1f, 4, 35), b = filled(0.1f, 4, 35), gradients = filled(0.3f, 4, 35);
  Adafactor factored(a.list(), {.factored_from = 4}), whole(b.list(), {.factored_from = 5});
  for (int step = 0; step < 3; ++step) {
    factored.step(a.list(), gradients.list(), 0.05);
    whole.step(b.list(), gradients.list(), 0.05);
  }
  const std::vector<float> x = all_values(a.list()), y = all_values(b.list());
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == Approx(y[i]).epsilon(1e-5));
  // Every element moved against its gradient by the rate times the root mean square of the parameter, three times.
  CHECK(x[0] < 0.1f);
  std::vector<std::string> names;
  factored.each_state([&](const std::string& name, std::span<float>) { names.push_back(name); });
  CHECK(names == std::vector<std::string>{"adafactor.rows.kernel", "adafactor.columns.kernel"});
}

TEST_CASE("weight decay takes kernels, but neither biases nor norms nor routers") {
  PanelParameters parameters = awkward_parameters(1);
  std::vector<std::string> decayed, kernels;
  for (const Parameter& parameter : parameters.list()) {
    if (is_kernel_but_router(parameter)) decayed.push_back(parameter.name);
    if (is_kernel(parameter)) kernels.push_back(parameter.name);
  }
  CHECK(decayed == std::vector<std::string>{"first.kernel", "second.kernel", "experts.kernel"});
  CHECK(kernels == std::vector<std::string>{"first.kernel", "second.kernel", "experts.kernel", "router.kernel"});
}

TEST_CASE("optimisers refuse gradients of another model and name the parameter") {
  PanelParameters parameters, gradients, other;
  parameters.add("a.kernel", {3, 4}, Role::mlp);
  gradients.add("b.kernel", {3, 4}, Role::mlp);
  other.add("a.kernel", {4, 3}, Role::mlp);
  Adam adam(parameters.list());
  CHECK(message_of([&] { adam.step(parameters.list(), gradients.list(), 1); }) ==
        "parameter a.kernel: expected its gradient, found that of b.kernel");
  CHECK(message_of([&] { adam.step(parameters.list(), other.list(), 1); }) ==
        "parameter a.kernel: expected a gradient of shape [3, 4], found [4, 3]");
  CHECK(message_of([&] { adam.step(parameters.list(), std::vector<Parameter>(), 1); }) ==
        "parameters: expected 1 gradients, found 0");
  CHECK(message_of([&] { adam.step(gradients.list(), gradients.list(), 1); }).starts_with("optimizer: made for"));
  CHECK(adam.steps() == 0);
}

TEST_CASE("clipping by global norm") {
  PanelParameters gradients;
  gradients.add("a", {2}, Role::norm);
  gradients.add("b.kernel", {1, 2}, Role::mlp);
  const auto assign = [&] {
    gradients.list()[0].assign(std::vector<float>{1, 2});
    gradients.list()[1].assign(std::vector<float>{4, 2});  // the norm is 5
  };
  assign();
  CHECK(global_norm(gradients.list()) == 5);
  CHECK(clip_by_global_norm(gradients.list(), 5.5) == 5);
  CHECK(all_values(gradients.list()) == std::vector<float>{1, 2, 4, 2});
  CHECK(clip_by_global_norm(gradients.list(), 2.5) == 5);
  CHECK(all_values(gradients.list()) == std::vector<float>{0.5f, 1, 2, 1});
  CHECK(gradients.padding_is_zero());
  CHECK_THROWS_AS(clip_by_global_norm(gradients.list(), 0), Error);
  gradients.list()[1].assign(std::vector<float>{4, std::numeric_limits<float>::infinity()});
  CHECK(message_of([&] { clip_by_global_norm(gradients.list(), 1); }).starts_with("gradient of b.kernel"));
  CHECK(gradients.list()[0].values()[1] == 1.f);
  PanelParameters many = awkward_parameters(3);
  double squares = 0;
  for (const float value : all_values(many.list())) squares += double{value} * double{value};
  CHECK(global_norm(many.list()) == Approx(std::sqrt(squares)));
}

TEST_CASE("threads share the update, and its bits stay") {
  ThreadPool pool(3);
  std::vector<std::vector<float>> found;
  for (const ExecutorRef executor : {ExecutorRef(), ExecutorRef(pool)}) {
    PanelParameters parameters = awkward_parameters(1), gradients = awkward_parameters(50);
    Adam adam(parameters.list(), {.weight_decay = 0.1});
    Sgd sgd(parameters.list(), {.momentum = 0.9, .nesterov = true});
    Adafactor adafactor(parameters.list(), {.factored_from = 2});
    WeightAverage average(parameters.list(), {.decay = 0.5});
    const double norm = clip_by_global_norm(gradients.list(), 1., executor);
    adam.step(parameters.list(), gradients.list(), 0.1, executor);
    sgd.step(parameters.list(), gradients.list(), 0.1, executor);
    adafactor.step(parameters.list(), gradients.list(), 0.1, executor);
    average.update(parameters.list(), executor);
    found.push_back(all_values(parameters.list()));
    average.swap(parameters.list());
    for (const std::vector<float>& more : {all_values(parameters.list()), all_values(gradients.list())})
      found.back().insert(found.back().end(), more.begin(), more.end());
    found.back().push_back(static_cast<float>(norm));
    set_to_zero(gradients.list(), executor);
    CHECK(all_values(gradients.list()) == std::vector<float>(all_values(gradients.list()).size(), 0.f));
  }
  CHECK(found[0] == found[1]);
}

TEST_CASE("the average of weights follows them") {
  PanelParameters parameters = awkward_parameters(1), next = awkward_parameters(20);
  const std::vector<float> before = all_values(parameters.list()), after = all_values(next.list());
  WeightAverage average(parameters.list(), {.decay = 0.75});
  average.update(next.list());
  average.swap(next.list());
  const std::vector<float> mean = all_values(next.list());
  for (std::size_t i = 0; i < mean.size(); ++i)
    CHECK(mean[i] == Approx(0.75 * before[i] + 0.25 * after[i]).margin(1e-6));
  CHECK(next.padding_is_zero());
  average.swap(next.list());
  CHECK(all_values(next.list()) == after);
  average.copy_to(next.list());
  CHECK(all_values(next.list()) == mean);
  CHECK(average.updates() == 1);
  WeightAverage early(parameters.list(), {.decay = 0.999, .warm_up = true});
  early.update(next.list());  // decays by 1/10
  CHECK(all_state(early)[0] == Approx(0.1 * before[0] + 0.9 * mean[0]).margin(1e-6));
}

TEST_CASE("Adafactor refuses options that make no sense, and decays by the learning rate where that is asked for") {
  PanelParameters parameters = awkward_parameters(1), gradients = awkward_parameters(2);
  const auto refused = [&](const AdafactorOptions& options) {
    return message_of([&] { Adafactor(parameters.list(), options); });
  };
  CHECK(refused({.factored_from = 0}) == "adafactor: expected to factor matrices from a side of at least 1, found 0");
  CHECK(refused({.decay_exponent = 0}) == "adafactor: expected a decay exponent above 0, found 0");
  CHECK(refused({.clip = -1}) == "adafactor: expected to clip updates to a size from 0 up, found -1");
  CHECK(refused({.momentum = 1}) == "adafactor: expected a momentum from 0 to below 1, found 1");
  for (Parameter& gradient : gradients.list())
    gradient.assign(std::vector<float>(static_cast<std::size_t>(gradient.size()), 0.f));
  const std::vector<float> before = parameters.list()[0].values();
  Adafactor(parameters.list(), {.weight_decay = 0.5, .decay_by_rate = true})
      .step(parameters.list(), gradients.list(), 0.25);
  const std::vector<float> once = parameters.list()[0].values();
  Adafactor(parameters.list(), {.weight_decay = 0.5}).step(parameters.list(), gradients.list(), 0.25);
  const std::vector<float> twice = parameters.list()[0].values();
  for (std::size_t i = 0; i < before.size(); ++i) {
    CHECK(once[i] == Approx(0.875f * before[i]));
    CHECK(twice[i] == Approx(0.5f * once[i]));
  }
}
