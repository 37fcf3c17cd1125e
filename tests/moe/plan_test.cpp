// The whole plan against one of plain loops: what was chosen, who was served when, rows, runs, numbers of every expert.
#include <moevit/core/thread_pool.hpp>
#include <moevit/moe/per_image_router.hpp>
#include <moevit/moe/top_k_router.hpp>

#include "catch.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

namespace {

using namespace moevit;

struct Gates {
  Index rows, cols;
  std::vector<float> values;
  ConstMatrixView view() const { return {values.data(), rows, cols}; }
  float at(Index row, Index col) const { return values[static_cast<std::size_t>(row * cols + col)]; }
};

/// `levels` different values, so that few of them make many ties.
Gates random_gates(Index rows, Index cols, int levels, std::mt19937& generator) {
  Gates gates{rows, cols, {}};
  for (Index i = 0; i < rows * cols; ++i)
    gates.values.push_back(static_cast<float>(generator() % static_cast<unsigned>(levels)) /
                           static_cast<float>(levels));
  return gates;
}

/// Numbers 0..count-1 by falling value, ties by rising number.
template <class Value>
std::vector<Index> falling(Index count, Value value) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return value(a) > value(b); });
  return order;
}

/// The choices and their order of service as V-MoE's paper tells it.
struct Told {
  std::vector<Choice> choices;
  std::vector<std::int32_t> served;
};

template <class RowOf>
Told told_top_k(const Gates& gates, Index group, const RoutingOptions& options, Index capacity, RowOf row_of) {
  Told told;
  const Index k = options.selected;
  for (Index position = 0; position < gates.rows; ++position) {
    const Index row = row_of(position);
    const std::vector<Index> best = falling(gates.cols, [&](Index expert) { return gates.at(row, expert); });
    for (Index rank = 0; rank < k; ++rank) {
      const Index expert = best[static_cast<std::size_t>(rank)];
      told.choices.push_back({static_cast<std::int32_t>(row), static_cast<std::int32_t>(rank),
                              static_cast<std::int32_t>(expert), -1, gates.at(row, expert)});
    }
  }
  for (Index first = 0; first < gates.rows; first += group) {
    const std::vector<Index> order = falling(group, [&](Index i) {
      float sum = 0.f;
      for (Index rank = 0; rank < k; ++rank) sum += told.choices[static_cast<std::size_t>((first + i) * k + rank)].gate;
      if (options.priority == Priority::position) return 0.f;
      return options.priority == Priority::sum_of_gates ? sum
                                                        : told.choices[static_cast<std::size_t>((first + i) * k)].gate;
    });
    std::vector<std::int32_t> filled(static_cast<std::size_t>(gates.cols));
    for (Index rank = 0; rank < k; ++rank)
      for (const Index i : order) {
        Choice& choice = told.choices[static_cast<std::size_t>((first + i) * k + rank)];
        const std::int32_t slot = filled[static_cast<std::size_t>(choice.expert)]++;
        choice.slot = slot < capacity ? slot : -1;
        told.served.push_back(static_cast<std::int32_t>((first + i) * k + rank));
      }
  }
  return told;
}

Told told_expert_choice(const Gates& gates, Index group, Index capacity) {
  Told told;
  for (Index first = 0; first < gates.rows; first += group)
    for (Index expert = 0; expert < gates.cols; ++expert) {
      const std::vector<Index> best = falling(group, [&](Index i) { return gates.at(first + i, expert); });
      for (std::int32_t slot = 0; slot < capacity; ++slot) {
        const Index token = first + best[static_cast<std::size_t>(slot)];
        told.choices.push_back(
            {static_cast<std::int32_t>(token), slot, static_cast<std::int32_t>(expert), slot, gates.at(token, expert)});
      }
    }
  return told;
}

Told told_images(const Gates& gates, Index tokens, Index k) {
  Told told;
  std::vector<std::int32_t> filled(static_cast<std::size_t>(gates.cols));
  for (Index token = 0; token < gates.rows * tokens; ++token) {
    const Index image = token / tokens;
    const std::vector<Index> best = falling(gates.cols, [&](Index expert) { return gates.at(image, expert); });
    for (Index rank = 0; rank < k; ++rank) {
      const auto expert = best[static_cast<std::size_t>(rank)];
      told.choices.push_back({static_cast<std::int32_t>(token), static_cast<std::int32_t>(rank),
                              static_cast<std::int32_t>(expert), filled[static_cast<std::size_t>(expert)]++,
                              gates.at(image, expert)});
    }
  }
  return told;
}

bool same(const Choice& a, const Choice& b) {
  return a.token == b.token && a.rank == b.rank && a.expert == b.expert && a.slot == b.slot && a.gate == b.gate;
}

/// Requires the plan to be what was told, down to every row and run.
void require_plan(const SparsePlan& plan, const Told& told) {
  REQUIRE(std::ranges::equal(plan.choices(), told.choices, same));
  REQUIRE(std::ranges::equal(plan.service_order(), told.served));
  std::vector<std::int32_t> tokens;                                                  // of all rows
  std::vector<std::vector<TokenRow>> rows(static_cast<std::size_t>(plan.tokens()));  // of every token
  for (int expert = 0; expert < plan.experts(); ++expert) {
    std::vector<Choice> kept;
    int demand = 0;
    for (const Choice& choice : told.choices) {
      if (choice.expert != expert) continue;
      ++demand;
      if (choice.slot >= 0) kept.push_back(choice);
    }
    std::stable_sort(kept.begin(), kept.end(), [](const Choice& a, const Choice& b) { return a.token < b.token; });
    REQUIRE(plan.demand(expert) == demand);
    REQUIRE(plan.kept(expert) == std::ssize(kept));
    REQUIRE(plan.dropped(expert) == demand - plan.kept(expert));
    REQUIRE(plan.first_row(expert) == std::ssize(tokens));
    std::vector<RowRun> runs;
    for (const Choice& choice : kept) {
      const auto row = static_cast<std::int32_t>(tokens.size());
      if (!runs.empty() && tokens.back() + 1 == choice.token)
        ++runs.back().rows;
      else
        runs.push_back({choice.token, row, 1});
      tokens.push_back(choice.token);
      rows[static_cast<std::size_t>(choice.token)].push_back({row, choice.gate});
    }
    REQUIRE(std::ranges::equal(plan.runs(expert), runs, [](const RowRun& a, const RowRun& b) {
      return a.first_token == b.first_token && a.first_row == b.first_row && a.rows == b.rows;
    }));
  }
  REQUIRE(plan.rows() == std::ssize(tokens));
  REQUIRE(std::ranges::equal(plan.row_tokens(), tokens));
  for (int token = 0; token < plan.tokens(); ++token)
    REQUIRE(
        std::ranges::equal(plan.rows_of_token(token), rows[static_cast<std::size_t>(token)],
                           [](const TokenRow& a, const TokenRow& b) { return a.row == b.row && a.gate == b.gate; }));
}

}  // namespace

TEST_CASE("top-k plans are those of plain loops, for groups that are sorted either way") {
  std::mt19937 generator(1);
  SparsePlan plan;  // one for all rounds, as plans are used again
  AssignScratch scratch;
  for (int round = 0; round < 120; ++round) {
    const Index experts = 1 + static_cast<Index>(generator() % (round % 10 ? 12 : 150)),
                group = 1 + static_cast<Index>(generator() % (round % 3 ? 40 : 300)), groups = 1 + round % 3;
    const Index k = 1 + static_cast<Index>(generator() % static_cast<unsigned>(std::min<Index>(experts, 5)));
    const Gates gates = random_gates(group * groups, experts, round % 2 ? 6 : 1 << 20, generator);
    const Index capacity = 1 + static_cast<Index>(generator() % static_cast<unsigned>(1 + group * k / experts));
    for (const Priority priority : {Priority::position, Priority::max_gate, Priority::sum_of_gates}) {
      CAPTURE(round, experts, group, groups, k, capacity);
      const RoutingOptions options{.capacity = capacity, .priority = priority, .selected = k};
      assign_top_k(gates.view(), group, options, plan, scratch);
      require_plan(plan, told_top_k(gates, group, options, capacity, [](Index position) { return position; }));
      const auto backwards = [&](Index position) { return gates.rows - 1 - position; };
      assign_top_k(gates.view(), group, options, plan, scratch, backwards);
      require_plan(plan, told_top_k(gates, group, options, capacity, backwards));
    }
  }
}

TEST_CASE("expert choice plans are those of plain loops") {
  std::mt19937 generator(2);
  SparsePlan plan;
  AssignScratch scratch;
  for (int round = 0; round < 100; ++round) {
    const Index experts = 1 + static_cast<Index>(generator() % 12),
                group = 1 + static_cast<Index>(generator() % (round % 3 ? 40 : 300)), groups = 1 + round % 3;
    const Gates gates = random_gates(group * groups, experts, round % 2 ? 6 : 1 << 20, generator);
    const Index capacity = 1 + static_cast<Index>(generator() % static_cast<unsigned>(group));
    CAPTURE(round, experts, group, groups, capacity);
    assign_expert_choice(gates.view(), group, {.capacity = capacity}, plan, scratch);
    require_plan(plan, told_expert_choice(gates, group, capacity));
  }
}

TEST_CASE("plans of whole images are those of plain loops, and neighbours that share an expert are one run") {
  std::mt19937 generator(3);
  SparsePlan plan;
  AssignScratch scratch;
  for (int round = 0; round < 100; ++round) {
    const Index experts = 1 + static_cast<Index>(generator() % 10), images = 1 + static_cast<Index>(generator() % 9),
                tokens = 1 + static_cast<Index>(generator() % 20);
    const Index k = 1 + static_cast<Index>(generator() % static_cast<unsigned>(experts));
    const Gates gates = random_gates(images, experts, round % 2 ? 4 : 1 << 20, generator);
    CAPTURE(round, experts, images, tokens, k);
    assign_images(gates.view(), tokens, {.selected = k}, plan, scratch);
    require_plan(plan, told_images(gates, tokens, k));
  }
}

TEST_CASE("a plan of choices in any order has the rows of plain loops") {
  std::mt19937 generator(4);
  SparsePlan plan;
  for (int round = 0; round < 60; ++round) {
    const auto tokens = static_cast<std::int32_t>(1 + generator() % 30),
               experts = static_cast<std::int32_t>(1 + generator() % 6);
    Told told;
    for (std::int32_t token = 0; token < tokens; ++token)
      for (std::int32_t expert = 0; expert < experts; ++expert)
        if (generator() % 2)
          told.choices.push_back({token, 0, expert, static_cast<std::int32_t>(generator() % 3) - 1, 0.5f});
    if (round % 3) std::shuffle(told.choices.begin(), told.choices.end(), generator);
    plan.start(tokens, experts, 1, 2);
    for (const Choice& choice : told.choices) plan.add(choice);
    plan.finish();
    require_plan(plan, told);
  }
}

TEST_CASE("workers share the choosing, and the plan and its gates stay the same to the bit") {
  constexpr Index dim = 12, experts = 6, images = 5, tokens = 40, members = 2;
  const auto compare = [](const auto& router, RoutingOptions options, Index copies) {
    std::mt19937 generator(5);
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<std::size_t>(images * copies * tokens * dim));
    for (float& value : x) value = normal(generator);
    const auto route = [&](ExecutorRef executor) {
      Workspace workspace({0, router_worker_bytes(images * copies * tokens, dim)}, executor);
      Routing routing;
      const ConstMatrixView rows(x.data(), images * copies * tokens, dim);
      router.route({rows, images, tokens, copies, 0, 1, options, workspace}, routing);
      return routing;
    };
    const Routing expected = route({});
    for (Index threads = 2; threads <= 5; ++threads) {
      ThreadPool pool(threads);
      const Routing found = route(ExecutorRef(pool));
      REQUIRE(std::memcmp(found.gates().data(), expected.gates().data(),
                          static_cast<std::size_t>(expected.gates().size()) * sizeof(float)) == 0);
      REQUIRE(std::ranges::equal(found.plan.choices(), expected.plan.choices(), same));
      REQUIRE(std::ranges::equal(found.plan.row_tokens(), expected.plan.row_tokens()));
    }
  };
  const auto fill = [](auto& router) {
    std::mt19937 generator(6);
    std::normal_distribution<float> normal;
    std::remove_reference_t<decltype(router)>::each_parameter(router, "router", [&](const Parameter& parameter) {
      std::vector<float> values(static_cast<std::size_t>(parameter.size()));
      for (float& value : values) value = normal(generator);
      parameter.assign(values);
    });
  };
  TopKRouter<dim, experts> plain;
  TopKRouter<dim, experts, members> ensemble;
  fill(plain);
  fill(ensemble);
  const RoutingOptions options{.capacity_ratio = 0.7, .priority = Priority::max_gate, .selected = 2};
  compare(plain, options, 1);
  compare(ensemble, options, members);
}

TEST_CASE("a gate that is not finite is an error that names the first one, for any number of threads") {
  constexpr Index dim = 4, experts = 3, tokens = 20000;
  TopKRouter<dim, experts> router;
  std::vector<float> x(static_cast<std::size_t>(tokens * dim), 1.f);
  x[static_cast<std::size_t>(7001 * dim + 2)] = std::numeric_limits<float>::infinity();
  x[static_cast<std::size_t>(15000 * dim)] = std::numeric_limits<float>::quiet_NaN();
  for (Index threads = 1; threads <= 4; ++threads) {
    ThreadPool pool(threads);
    Workspace workspace({0, router_worker_bytes(tokens, dim)}, ExecutorRef(pool));
    Routing routing;
    const RoutingOptions options{.selected = 2};
    CHECK_THROWS_WITH(router.route({{x.data(), tokens, dim}, 1, tokens, 1, 3, 8, options, workspace}, routing),
                      Catch::Contains("router of block 3: expected finite gates, found") &&
                          Catch::Contains("nan for token 7001, expert 0"));
    CHECK(routing.plan.rows() == 0);
    CHECK(routing.plan.rows_of_token(tokens - 1).empty());
    CHECK(routing.plan.demand(2) == 0);
  }
}
