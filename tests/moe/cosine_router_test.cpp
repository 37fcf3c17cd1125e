// The cosine router: gates of plain loops, gradients of differences, the same bits for any threads.
#include "catch.hpp"
#include "gradient_check.hpp"
#include "random_values.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/moe/context.hpp>
#include <moevit/moe/cosine_router.hpp>
#include <moevit/train/parameter_runs.hpp>

#include <cmath>
#include <map>

using namespace moevit;

namespace {

using SmallRouter = CosineRouter<7, 5, 11>;

std::vector<Parameter> parameters_of(SmallRouter& router) {
  std::vector<Parameter> list;
  SmallRouter::each_parameter(router, "router", [&](auto&& parameter) { list.push_back(std::move(parameter)); });
  return list;
}

SmallRouter random_router(float temperature) {
  SmallRouter router;
  unsigned seed = 3;
  for (const Parameter& parameter : parameters_of(router))
    parameter.assign(parameter.name == "router.temperature" ? std::vector<float>{temperature}
                                                            : test::normal_values(parameter.size(), seed++));
  return router;
}

/// cos(x W + b, m_e) / max(exp(-temperature), 0.01).
std::vector<double> expected_logits(SmallRouter router, const std::vector<float>& x) {
  std::map<std::string, std::vector<float>> values;
  for (const Parameter& parameter : parameters_of(router)) values[parameter.name.substr(7)] = parameter.values();
  const double temperature = std::max(std::exp(-double{values["temperature"][0]}), 0.01);
  std::vector<double> logits;
  for (std::size_t row = 0; row < x.size() / 7; ++row) {
    std::vector<double> y(11);
    for (std::size_t j = 0; j < 11; ++j) {
      y[j] = values["projection.bias"][j];
      for (std::size_t i = 0; i < 7; ++i)
        y[j] += double{x[row * 7 + i]} * double{values["projection.kernel"][i * 11 + j]};
    }
    for (std::size_t expert = 0; expert < 5; ++expert) {
      double dot = 0, own = 0, other = 0;
      for (std::size_t j = 0; j < 11; ++j) {
        const double m = values["similarity"][j * 5 + expert];
        dot += y[j] * m, own += y[j] * y[j], other += m * m;
      }
      logits.push_back(dot / std::sqrt(own * other) / temperature);
    }
  }
  return logits;
}

struct Run {
  Workspace workspace;
  RoutingOptions options;
  Routing routing;

  Run(const SmallRouter& router, const std::vector<float>& x, ExecutorRef executor = {})
      : workspace(
            one_after_the_other(SmallRouter::route_scratch(rows_of(x)), SmallRouter::backward_scratch(rows_of(x))),
            executor) {
    options.selected = 2;
    router.route(request(x), routing);
  }
  static Index rows_of(const std::vector<float>& x) { return static_cast<Index>(x.size()) / 7; }
  RouteRequest request(const std::vector<float>& x) {
    return {ConstMatrixView(x.data(), rows_of(x), 7), 1, rows_of(x), 1, 0, 1, options, workspace};
  }
};

/// Sum of the plan's weights, each times a number of its token and expert.
double loss_of(const Routing& routing) {
  double sum = 0;
  for (const Choice& choice : routing.plan.choices())
    sum += std::sin(1. + choice.token * 5 + choice.expert) * double{routing.gates()(choice.token, choice.expert)};
  return sum;
}

std::vector<int> experts_of(const Routing& routing) {
  std::vector<int> experts;
  for (const Choice& choice : routing.plan.choices()) experts.push_back(choice.expert);
  return experts;
}

/// d loss / d parameters and tokens, in this order.
std::vector<float> gradients_of(const SmallRouter& router, const std::vector<float>& x, ExecutorRef executor = {}) {
  Run run(router, x, executor);
  PlanGradient plan;
  plan.start(run.routing.plan);
  const SparsePlan& all = run.routing.plan;
  for (int expert = 0; expert < all.experts(); ++expert)
    for (Index row = all.first_row(expert); row < all.first_row(expert) + all.kept(expert); ++row) {
      const auto i = static_cast<std::size_t>(row);
      plan.weights[i] = static_cast<float>(std::sin(1. + all.row_tokens()[i] * 5 + expert));
    }
  SmallRouter grads;
  set_to_zero(parameters_of(grads));
  std::vector<float> dx(x.size());
  router.backward(run.request(x), run.routing, plan, {}, grads, {dx.data(), Run::rows_of(x), 7});
  std::vector<float> found;
  for (const Parameter& parameter : parameters_of(grads)) {
    const std::vector<float> values = parameter.values();
    found.insert(found.end(), values.begin(), values.end());
  }
  found.insert(found.end(), dx.begin(), dx.end());
  return found;
}

}  // namespace

TEST_CASE("the cosine router scores by angles over a temperature with a floor") {
  for (const float temperature : {0.7f, 4.5f, 6.f}) {
    const SmallRouter router = random_router(temperature);
    for (const Index rows : {1, 3, 130}) {
      const std::vector<float> x = test::normal_values(rows * 7, 8);
      Run run(router, x);
      const std::vector<double> expected = expected_logits(router, x);
      for (Index i = 0; i < rows * 5; ++i)
        REQUIRE(run.routing.logits().data()[i] == Approx(expected[static_cast<std::size_t>(i)]).margin(1e-4));
      CHECK(run.routing.plan.rows() == 2 * rows);
    }
  }
}

TEST_CASE("gradients of the cosine router are those of differences") {
  for (const float temperature : {0.7f, 6.f}) {  // above log 100 the temperature has no gradient
    SmallRouter router = random_router(temperature);
    std::vector<float> x = test::normal_values(9 * 7, 8);
    const std::vector<float> found = gradients_of(router, x);
    std::vector<int> before, after;
    std::size_t first = 0;
    unsigned seed = 40;
    int compared = 0;
    const auto check = [&](const std::string& name, const std::vector<float>& values, auto assign) {
      const auto begin = found.begin() + static_cast<std::ptrdiff_t>(first);
      first += values.size();
      const auto function = [&](std::span<const float> moved) {
        assign(std::vector<float>(moved.begin(), moved.end()));
        const Run run(router, x);
        before = std::exchange(after, experts_of(run.routing));
        return loss_of(run.routing);
      };
      compared += test::check_gradient({.name = name,
                                        .values = values,
                                        .gradient = {begin, begin + std::ssize(values)},
                                        .function = function,
                                        .is_smooth = [&] { return before == after; },
                                        .step = temperature > 1.f ? 2e-5 : 1e-3},
                                       seed++);
      assign(values);
    };
    for (const Parameter& parameter : parameters_of(router))
      check(parameter.name, parameter.values(), [&](const std::vector<float>& values) { parameter.assign(values); });
    check("tokens", x, [&](const std::vector<float>& values) { x = values; });
    CHECK(compared >= 4);
    CHECK(first == found.size());
  }
}

TEST_CASE("gradients of the cosine router have the same bits for any threads") {
  const SmallRouter router = random_router(0.7f);
  const std::vector<float> x = test::normal_values(300 * 7, 8);
  const std::vector<float> expected = gradients_of(router, x);
  for (const Index threads : {2, 3}) {
    ThreadPool pool(threads);
    CHECK(gradients_of(router, x, pool) == expected);
  }
}
