// Dispatch and combine against plain loops, and experts without tokens.
#include <moevit/core/thread_pool.hpp>
#include <moevit/moe/dispatch.hpp>
#include <moevit/moe/residual_expert_bank.hpp>

#include "catch.hpp"
#include "random_values.hpp"

#include <random>

namespace {

using namespace moevit;

constexpr Index dim = 6;

// An expert whose output is easy to tell: x + 100 * (expert + 1), noting the rows it computed.
struct CountingBank {
  static constexpr Index dim = 6;
  static constexpr Index block_rows = 4;
  std::vector<Index>* rows;
  static constexpr Index scratch_bytes(Index) { return 0; }
  Index experts() const { return static_cast<Index>(rows->size()); }
  void forward(Index expert, ConstMatrixView x, MatrixView y, Arena&) const {
    (*rows)[static_cast<std::size_t>(expert)] += x.rows();
    for (Index row = 0; row < x.rows(); ++row)
      for (Index i = 0; i < dim; ++i) y(row, i) = x(row, i) + 100.f * static_cast<float>(expert + 1);
  }
};

// The kinds of banks that there are take rows from where they lie; others have them gathered.
static_assert(GatheringBank<ExpertBank<Mlp<dim, 4>>> && GatheringBank<ResidualExpertBank<Mlp<dim, 4>>> &&
              !GatheringBank<CountingBank>);

SparsePlan random_plan(Index tokens, Index experts, Index k, Index capacity, std::mt19937& generator) {
  std::vector<float> gates(static_cast<std::size_t>(tokens * experts));
  for (float& gate : gates) gate = static_cast<float>(generator() % 1000) / 1000.f;
  SparsePlan plan;
  AssignScratch scratch;
  assign_top_k(ConstMatrixView(gates.data(), tokens, experts), tokens, {.capacity = capacity, .selected = k}, plan,
               scratch);
  return plan;
}

}  // namespace

TEST_CASE("each expert computes its rows and no others, and outputs are combined by gate") {
  std::mt19937 generator(5);
  for (Index tokens : {0, 1, 3, 4, 5, 23}) {
    const Index experts = 5, k = 2;
    if (tokens == 0) continue;
    const SparsePlan plan = random_plan(tokens, experts, k, 3, generator);
    std::vector<float> x(static_cast<std::size_t>(tokens * dim)), y = x;
    for (float& value : x) value = static_cast<float>(generator() % 100);
    std::vector<Index> computed(static_cast<std::size_t>(experts), 0);
    const CountingBank bank{&computed};
    Workspace workspace(
        {dispatch_shared_bytes<CountingBank>(tokens * k, experts), dispatch_worker_bytes<CountingBank>(tokens * k)});
    std::vector<float> outputs(static_cast<std::size_t>(plan.rows() * dim));
    std::vector<ExpertTask> tasks(static_cast<std::size_t>(experts + plan.rows()));
    const MatrixView rows(outputs.data(), plan.rows(), dim);
    CHECK(run_experts(plan, bank, {x.data(), tokens, dim}, rows, false, tasks.data(), workspace) == plan.rows());
    for (int expert = 0; expert < plan.experts(); ++expert)
      CHECK(computed[static_cast<std::size_t>(expert)] == plan.kept(expert));
    combine(plan, rows, nullptr, {y.data(), tokens, dim}, workspace);
    std::vector<float> expected(y.size(), 0.f);
    for (const Choice& choice : plan.choices())
      if (choice.slot >= 0)
        for (Index i = 0; i < dim; ++i) {
          const auto at = static_cast<std::size_t>(choice.token * dim + i);
          expected[at] += choice.gate * (x[at] + 100.f * static_cast<float>(choice.expert + 1));
        }
    for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == Approx(expected[i]).epsilon(1e-5));
  }
}

TEST_CASE("outputs of a plan with one row per token are combined behind their experts, to the same bits") {
  std::mt19937 generator(7);
  constexpr Index experts = 5;
  const std::vector<float> scale{0.5f, -1.f, 2.f, 0.25f, 3.f, 1.5f};
  for (const Index tokens : {1, 4, 23, 150})
    for (const bool bf16 : {false, true}) {
      CAPTURE(tokens, bf16);
      const SparsePlan plan = random_plan(tokens, experts, 1, ceil_div(tokens, experts), generator);  // drops some
      REQUIRE(plan.has_single_rows());
      std::vector<float> x(static_cast<std::size_t>(tokens * dim)), expected(x.size(), 0.1f);
      for (float& value : x) value = static_cast<float>(generator() % 1000) / 7.f;
      const ConstMatrixView tokens_view(x.data(), tokens, dim);
      std::vector<Index> computed(static_cast<std::size_t>(experts), 0);
      const CountingBank bank{&computed};
      const ScratchBytes scratch{0, dispatch_worker_bytes<CountingBank>(tokens)};
      std::vector<float> outputs(static_cast<std::size_t>(plan.rows() * dim));
      std::vector<ExpertTask> tasks(static_cast<std::size_t>(experts + plan.rows()));
      const MatrixView rows(outputs.data(), plan.rows(), dim);
      Workspace workspace(scratch);
      run_experts(plan, bank, tokens_view, rows, bf16, tasks.data(), workspace);
      combine(plan, rows, scale.data(), {expected.data(), tokens, dim}, workspace);
      std::vector<float> y(expected.size(), 0.1f);
      CHECK(run_and_combine(plan, bank, tokens_view, scale.data(), {y.data(), tokens, dim}, bf16, tasks.data(),
                            workspace) == plan.rows());
      CHECK(y == expected);
    }
}

TEST_CASE("rows are combined behind real experts to the same bits for any number of threads") {
  using RealBank = ExpertBank<Mlp<dim, 9>>;
  std::mt19937 generator(8);
  constexpr Index experts = 3;
  RealBank bank(experts);
  std::vector<Parameter> parameters;
  RealBank::each_parameter(bank, "experts", CollectParameters<float>{parameters});
  test::randomise(parameters, 8);
  for (const Index tokens : {1, 2, 500}) {
    const SparsePlan plan = random_plan(tokens, experts, 1, tokens, generator);
    const std::vector<float> x = test::normal_values(tokens * dim, 9);
    std::vector<float> expected(x.size(), 0.5f);
    const ConstMatrixView tokens_view(x.data(), tokens, dim);
    const ScratchBytes scratch{0, dispatch_worker_bytes<RealBank>(tokens)};
    std::vector<ExpertTask> tasks(static_cast<std::size_t>(experts + plan.rows()));
    std::vector<float> outputs(static_cast<std::size_t>(plan.rows() * dim));
    const MatrixView rows(outputs.data(), plan.rows(), dim);
    Workspace workspace(scratch);
    run_experts(plan, bank, tokens_view, rows, false, tasks.data(), workspace);
    combine(plan, rows, nullptr, {expected.data(), tokens, dim}, workspace);
    for (Index threads = 1; threads <= 3; ++threads) {
      CAPTURE(tokens, threads);
      ThreadPool pool(threads);
      Workspace workspace_of_pool(scratch, ExecutorRef(pool));
      std::vector<float> y(expected.size(), 0.5f);
      run_and_combine(plan, bank, tokens_view, nullptr, {y.data(), tokens, dim}, false, tasks.data(),
                      workspace_of_pool);
      CHECK(y == expected);
    }
  }
}

TEST_CASE("outputs are combined with a layer scale, the same to the bit for any number of threads") {
  std::mt19937 generator(6);
  constexpr Index tokens = 700, width = 22, experts = 20;  // more experts than are read as streams
  const SparsePlan plan = random_plan(tokens, experts, 3, 60, generator);
  const auto random = [&](Index count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = normal(generator);
    return values;
  };
  const std::vector<float> outputs = random(plan.rows() * width), scale = random(width),
                           before = random(tokens * width);
  const auto combined = [&](const float* scales, ExecutorRef executor) {
    Workspace workspace({}, executor);
    std::vector<float> y = before;
    combine(plan, {outputs.data(), plan.rows(), width}, scales, {y.data(), tokens, width}, workspace);
    return y;
  };
  for (const float* scales : {static_cast<const float*>(nullptr), scale.data()}) {
    const std::vector<float> found = combined(scales, {});
    for (Index threads = 2; threads <= 4; ++threads) {
      ThreadPool pool(threads);
      CHECK(combined(scales, ExecutorRef(pool)) == found);
    }
    for (int token = 0; token < plan.tokens(); ++token)
      for (Index i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>(token * width + i);
        double sum = 0.;
        for (const TokenRow& entry : plan.rows_of_token(token))
          sum += static_cast<double>(entry.gate) *
                 static_cast<double>(outputs[static_cast<std::size_t>(entry.row * width + i)]);
        const double factor = scales ? static_cast<double>(scale[static_cast<std::size_t>(i)]) : 1.;
        REQUIRE(static_cast<double>(found[at]) == Approx(static_cast<double>(before[at]) + factor * sum).margin(1e-5));
        if (plan.rows_of_token(token).empty()) REQUIRE(found[at] == before[at]);
      }
  }
}

TEST_CASE("an image routed whole is one run, read without gathering") {
  SparsePlan plan;
  plan.start(8, 3, 1, 8);
  for (int token = 0; token < 8; ++token) plan.add({token, 0, token < 4 ? 2 : 0, token % 4, 1.f});
  plan.finish();
  REQUIRE(plan.runs(2).size() == 1);
  CHECK(plan.runs(2)[0].rows == 4);
  CHECK(plan.runs(1).empty());
  std::vector<float> x(8 * dim);
  const ConstMatrixView view(x.data(), 8, dim);
  CHECK(gather_rows(plan, {2, plan.first_row(2), 4}, view, false, nullptr).data() == x.data());
  CHECK(gather_rows(plan, {0, plan.first_row(0), 4}, view, false, nullptr).data() == x.data() + 4 * dim);
}

TEST_CASE("a residual bank equals plain experts with summed weights, and its core alone when residuals are zero") {
  using Core = Mlp<dim, 10>;
  ResidualExpertBank<Core> full(3);
  ResidualExpertBank<Core, 2> low(3);
  ExpertBank<Core> plain(3);
  std::mt19937 generator(9);
  std::normal_distribution<float> normal;
  const auto fill = [&](auto& bank, bool residuals) {
    std::remove_reference_t<decltype(bank)>::each_parameter(bank, "", [&](const Parameter& parameter) {
      std::vector<float> values(static_cast<std::size_t>(parameter.size()));
      for (float& value : values) value = parameter.name.starts_with("core") || residuals ? normal(generator) : 0.f;
      parameter.assign(values);
    });
  };
  const auto named = [](auto& bank, const std::string& name) {
    std::vector<float> values;
    std::remove_reference_t<decltype(bank)>::each_parameter(bank, "", [&](const Parameter& parameter) {
      if (parameter.name == name) values = parameter.values();
    });
    REQUIRE_FALSE(values.empty());
    return values;
  };
  const auto compare = [&](auto& bank) {
    Arena arena(1 << 16);
    std::vector<float> x(5 * dim), y(5 * dim), expected(5 * dim);
    for (float& value : x) value = normal(generator);
    for (Index expert = 0; expert < 3; ++expert) {
      const Arena::Scope scope(arena);
      bank.forward(expert, {x.data(), 5, dim}, {y.data(), 5, dim}, arena);
      plain.forward(expert, {x.data(), 5, dim}, {expected.data(), 5, dim}, arena);
      for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == Approx(expected[i]).margin(1e-5));
    }
  };
  const auto merge = [&](auto& bank, auto residual_kernel) {
    ExpertBank<Core>::each_parameter(plain, "", [&](const Parameter& parameter) {
      const std::vector<float> core = named(bank, "core." + parameter.name), residual = residual_kernel(parameter.name);
      std::vector<float> sum(residual.size());
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = core[i % core.size()] + residual[i];
      parameter.assign(sum);
    });
  };
  fill(full, true);
  merge(full, [&](const std::string& name) { return named(full, "residual." + name); });
  compare(full);
  fill(full, false);
  merge(full, [&](const std::string& name) { return named(full, "residual." + name); });
  compare(full);
  fill(low, true);
  merge(low, [&](const std::string& name) {
    if (name.ends_with("bias")) return named(low, "residual." + name);
    const std::string layer = "residual." + name.substr(0, name.find('.'));
    const std::vector<float> left = named(low, layer + ".left.kernel"), right = named(low, layer + ".right.kernel");
    const std::size_t inputs = left.size() / 6, outputs = right.size() / 6;
    std::vector<float> product(3 * inputs * outputs, 0.f);
    for (std::size_t expert = 0; expert < 3; ++expert)
      for (std::size_t i = 0; i < inputs; ++i)
        for (std::size_t o = 0; o < outputs; ++o)
          for (std::size_t r = 0; r < 2; ++r)
            product[(expert * inputs + i) * outputs + o] +=
                left[(expert * inputs + i) * 2 + r] * right[(expert * 2 + r) * outputs + o];
    return product;
  });
  compare(low);
}
