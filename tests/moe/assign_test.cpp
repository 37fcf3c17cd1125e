// Assignment against worked examples and against a naive sorter.
#include <moevit/moe/assign.hpp>
#include <moevit/moe/losses.hpp>

#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>

namespace {

using namespace moevit;

struct Gates {
  Index rows, cols;
  std::vector<float> values;
  ConstMatrixView view() const { return {values.data(), rows, cols}; }
};

SparsePlan plan_of(const Gates& gates, Index group, const RoutingOptions& options) {
  SparsePlan plan;
  AssignScratch scratch;
  assign_top_k(gates.view(), group, options, plan, scratch);
  return plan;
}

// Written as the papers say it: sort all (rank, order) pairs, count up per expert.
std::vector<int> naive_slots(const Gates& gates, Index group, Index k, Priority priority, Index capacity) {
  const auto at = [&](Index token, Index expert) {
    return gates.values[static_cast<std::size_t>(token * gates.cols + expert)];
  };
  std::vector<int> slots(static_cast<std::size_t>(gates.rows * k), -1);
  for (Index first = 0; first < gates.rows; first += group) {
    std::vector<std::vector<Index>> chosen;
    std::vector<float> score;
    for (Index token = first; token < first + group; ++token) {
      std::vector<Index> experts(static_cast<std::size_t>(gates.cols));
      std::iota(experts.begin(), experts.end(), 0);
      std::stable_sort(experts.begin(), experts.end(), [&](Index a, Index b) { return at(token, a) > at(token, b); });
      experts.resize(static_cast<std::size_t>(k));
      float sum = 0;
      for (Index expert : experts) sum += at(token, expert);
      score.push_back(priority == Priority::position   ? 0.f
                      : priority == Priority::max_gate ? at(token, experts[0])
                                                       : sum);
      chosen.push_back(experts);
    }
    std::vector<Index> order(static_cast<std::size_t>(group));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
      return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
    });
    std::vector<int> count(static_cast<std::size_t>(gates.cols), 0);
    for (Index rank = 0; rank < k; ++rank)
      for (Index i : order) {
        const int slot =
            count[static_cast<std::size_t>(chosen[static_cast<std::size_t>(i)][static_cast<std::size_t>(rank)])]++;
        if (slot < capacity) slots[static_cast<std::size_t>((first + i) * k + rank)] = slot;
      }
  }
  return slots;
}

}  // namespace

TEST_CASE("three tokens, three experts, two slots: the worked example of V-MoE's tests") {
  const Gates gates{3, 3, {.4f, 0, .2f, .5f, .1f, .4f, .3f, .2f, .6f}};
  RoutingOptions options{.capacity = 2, .selected = 2};
  const SparsePlan vanilla = plan_of(gates, 3, options);
  const auto slots = [](const SparsePlan& plan) {
    std::vector<int> list;
    for (const Choice& choice : plan.choices()) list.push_back(choice.slot);
    return list;
  };
  CHECK(slots(vanilla) == std::vector<int>{0, 1, 1, -1, 0, -1});
  CHECK(vanilla.demand(0) == 3);
  CHECK(vanilla.kept(0) == 2);
  CHECK(vanilla.dropped(0) == 1);
  CHECK(vanilla.rows() == 4);
  options.priority = Priority::max_gate;  // token 2 (.6), then 1 (.5), then 0 (.4)
  CHECK(slots(plan_of(gates, 3, options)) == std::vector<int>{1, -1, 0, 1, 0, -1});
}

TEST_CASE("slots, rows and runs agree with a naive sorter for random gates with ties") {
  std::mt19937 generator(3);
  for (int round = 0; round < 300; ++round) {
    const Index experts = 1 + static_cast<Index>(generator() % 9), group = 1 + static_cast<Index>(generator() % 20),
                groups = 1 + static_cast<Index>(generator() % 3);
    const Index k = 1 + static_cast<Index>(generator() % static_cast<unsigned>(experts)),
                capacity = 1 + static_cast<Index>(generator() % 8);
    Gates gates{group * groups, experts, {}};
    for (Index i = 0; i < gates.rows * experts; ++i) gates.values.push_back(static_cast<float>(generator() % 8) / 8.f);
    for (const Priority priority : {Priority::position, Priority::max_gate, Priority::sum_of_gates}) {
      const SparsePlan plan = plan_of(gates, group, {.capacity = capacity, .priority = priority, .selected = k});
      const std::vector<int> expected = naive_slots(gates, group, k, priority, capacity);
      int kept = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        REQUIRE(plan.choices()[i].slot == expected[i]);
        kept += expected[i] >= 0;
      }
      REQUIRE(plan.rows() == kept);
      // Every row is found again from its token, experts rising, and runs cover the rows.
      std::size_t most = 0;
      for (int token = 0; token < plan.tokens(); ++token) {
        int last = -1;
        for (const TokenRow& entry : plan.rows_of_token(token)) {
          REQUIRE(plan.row_tokens()[static_cast<std::size_t>(entry.row)] == token);
          REQUIRE(entry.row > last);
          last = entry.row;
        }
        most = std::max(most, plan.rows_of_token(token).size());
      }
      REQUIRE(plan.has_single_rows() == (most <= 1));
      for (int expert = 0; expert < plan.experts(); ++expert) {
        int row = plan.first_row(expert);
        for (const RowRun& run : plan.runs(expert))
          for (int i = 0; i < run.rows; ++i)
            REQUIRE(plan.row_tokens()[static_cast<std::size_t>(row++)] == run.first_token + i);
        REQUIRE(row == plan.first_row(expert) + plan.kept(expert));
      }
    }
  }
}

TEST_CASE("expert choice takes each column's largest gates, ties to the lower token") {
  const Gates gates{4, 2, {.5f, .5f, .9f, .1f, .5f, .5f, .2f, .8f}};
  SparsePlan plan;
  AssignScratch scratch;
  assign_expert_choice(gates.view(), 4, {.capacity = 2}, plan, scratch);
  std::vector<int> tokens;
  for (const Choice& choice : plan.choices()) tokens.push_back(choice.token);
  CHECK(tokens == std::vector<int>{1, 0, 3, 0});
  CHECK(plan.rows_of_token(2).empty());
  CHECK(plan.rows_of_token(0).size() == 2);
  CHECK_FALSE(plan.has_single_rows());
  CHECK_THROWS_WITH(assign_expert_choice(gates.view(), 4, {.capacity = 5}, plan, scratch), Catch::Contains("at most"));
}

TEST_CASE("weights: renormalised gates sum to one, unscaled ones are one, priority still sees the gates") {
  const Gates gates{2, 3, {.5f, .3f, .2f, .6f, .3f, .1f}};
  RoutingOptions options{.capacity = 1, .priority = Priority::max_gate, .selected = 2, .renormalise = true};
  const SparsePlan plan = plan_of(gates, 2, options);
  CHECK(plan.choices()[0].gate == Approx(.5 / .8));
  CHECK(plan.choices()[3].gate == Approx(.3 / .9));
  CHECK(plan.choices()[0].slot == -1);
  CHECK(plan.choices()[2].slot == 0);
  options.scale_by_gate = false;
  CHECK(plan_of(gates, 2, options).choices()[1].gate == 1.f);
}

TEST_CASE("what makes no sense is refused") {
  const Gates gates{4, 3, std::vector<float>(12, .3f)};
  CHECK_THROWS_WITH(plan_of(gates, 4, {.selected = 4}), Catch::Contains("expected 1 to 3"));
  CHECK_THROWS_WITH(plan_of(gates, 4, {.selected = 0}), Catch::Contains("expected 1 to 3"));
  CHECK_THROWS_WITH(plan_of(gates, 4, {.capacity_ratio = 1.0, .capacity = 3}), Catch::Contains("exactly one"));
  CHECK_THROWS_WITH(plan_of(gates, 4, {.capacity_ratio = -1.0}), Catch::Contains("at least 1 slot"));
  CHECK_THROWS_WITH(plan_of(gates, 4, {.capacity = -1}), Catch::Contains("at least 1 slot"));
}

TEST_CASE("capacity: as the code rounds and as the paper does") {
  CHECK(compute_capacity(64, 32, 1.0) == 4);
  CHECK(compute_capacity(64, 32, 1.0, CapacityRounding::ceil, 1) == 2);
  CHECK(compute_capacity(800, 32, 1.05) == 28);  // 26.25: 27, then 28
  CHECK(compute_capacity(800, 32, 1.05, CapacityRounding::round, 1) == 26);
  CHECK(compute_capacity(20, 8, 1.0, CapacityRounding::round, 0) == 2);  // 2.5 to the even 2
  CHECK(compute_capacity(28, 8, 1.0, CapacityRounding::round, 0) == 4);  // 3.5 to the even 4
  CHECK_THROWS_AS(compute_capacity(4, 8, 1.0, CapacityRounding::round), Error);
  CHECK_THROWS_AS(compute_capacity(4, 8, 0.0), Error);
  CHECK_THROWS_AS(compute_capacity(4, 8, std::nan("")), Error);
}

TEST_CASE("losses: numbers of V-MoE's tests") {
  const Gates gates{4, 3, {.5f, .4f, .1f, .3f, .3f, .4f, .1f, .2f, .7f, .8f, .2f, 0.f}};
  CHECK(importance_loss(gates.view()) == Approx(0.03875));
  CHECK(gshard_loss(gates.view()) == Approx(1.0875));
  const Gates logits{3, 3, {.9f, .06f, .04f, .7f, .18f, .12f, .85f, .05f, .1f}};
  const std::array<float, 9> noise{-.037f, .026f, -.018f, -.074f, .045f, -.015f, -.067f, -.059f, .073f};
  Gates noisy = logits;
  for (std::size_t i = 0; i < 9; ++i) noisy.values[i] += noise[i];
  CHECK(load_loss(logits.view(), noisy.view(), 2, 0.1) == Approx(0.485738).epsilon(1e-5));
  CHECK_THROWS_AS(load_loss(logits.view(), noisy.view(), 2, 0.), Error);
}
