// Backward through experts when their rows go back in several parts.
#include "catch.hpp"
#include "parameter_values.hpp"
#include "random_values.hpp"

#include <moevit/moe/residual_expert_bank.hpp>
#include <moevit/moe/sparse_mlp.hpp>
#include <moevit/moe/top_k_router.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr Index dim = 64, experts = 4, tokens = 300, selected = 2;
using Wide = Mlp<dim, 2048>;

template <class Bank>
using Layer = SparseMlp<TopKRouter<dim, experts>, Bank, MoeConfig{.experts = experts, .selected = selected}>;

template <class Net>
std::vector<Parameter> parameters_of(Net& layer) {
  std::vector<Parameter> list;
  Net::each_parameter(layer, "moe", [&](auto&& parameter) { list.push_back(std::move(parameter)); });
  return list;
}

/// Gradients of the parameters and of the input, one after the other, of sum(cotangent * layer(x)) over some tokens.
template <class Net>
std::vector<float> gradients_of(const Net& layer, Index first, Index count, Index threads) {
  const std::vector<float> x = normal_values(tokens * dim, 8), cotangent = normal_values(tokens * dim, 9);
  const auto part = [&](const std::vector<float>& all) {
    return ConstMatrixView(all.data() + first * dim, count, dim);
  };
  const RoutingOptions options = routing_options(Net::defaults);
  Context context(Net::training_scratch(options, 1, count), {.threads = threads}, {}, {0}, 1);
  context.routing = options;
  Arena memory(Net::saved_bytes(options, 1, count));
  const auto saved = Net::take_saved(options, 1, count, memory);
  RowMajorMatrix y = RowMajorMatrix::Zero(count, dim);
  const BlockRows rows{part(x), {y.data(), count, dim}, nullptr, 1, count};
  layer.forward_saved(rows, saved, false, context);
  Net grads;  // weights are zero
  std::vector<float> d_x(static_cast<std::size_t>(count * dim));
  PlanGradient plan;
  layer.backward(rows, saved, part(cotangent), grads, plan, {}, {d_x.data(), count, dim}, context);
  std::vector<float> all = values_of(parameters_of(grads));
  all.insert(all.end(), d_x.begin(), d_x.end());
  return all;
}

template <class Bank>
void check_parts() {
  static_assert(detail::backward_rows<Bank>(tokens * selected) < tokens * selected / 2, "the rows must make 3 parts");
  const auto layer = std::make_unique<Layer<Bank>>();
  unsigned seed = 3;
  for (const Parameter& parameter : parameters_of(*layer))
    parameter.assign(normal_values(parameter.size(), seed++, 0.f, 0.1f));
  const std::vector<float> whole = gradients_of(*layer, 0, tokens, 1);
  for (const Index threads : {2, 3}) CHECK((gradients_of(*layer, 0, tokens, threads) == whole));

  // Nothing is dropped, so tokens have nothing to do with each other: gradients of parts that go back at once add up.
  constexpr Index part = tokens / 3;
  const std::size_t weights = whole.size() - tokens * dim;
  std::vector<float> sum(weights);
  for (Index first = 0; first < tokens; first += part) {
    const std::vector<float> own = gradients_of(*layer, first, part, 1);
    for (std::size_t i = 0; i < weights; ++i) sum[i] += own[i];
    sum.insert(sum.end(), own.begin() + static_cast<std::ptrdiff_t>(weights), own.end());
  }
  REQUIRE(sum.size() == whole.size());
  float largest = 0.f, error = 0.f;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    largest = std::max(largest, std::abs(whole[i]));
    error = std::max(error, std::abs(whole[i] - sum[i]));
  }
  CHECK(largest > 1.f);
  CHECK(error <= 1e-5f * largest);
}

}  // namespace

TEST_CASE("a plan without rows has no gradients") {
  const ExpertBank<Mlp<dim, 4>> bank(experts);
  ExpertBank<Mlp<dim, 4>> grads(experts);
  const SparsePlan plan;
  Workspace workspace(dispatch_training_scratch<ExpertBank<Mlp<dim, 4>>>(0, experts));
  const ConstMatrixView none(nullptr, 0, dim);
  const SavedExperts saved{{nullptr, 0, 4}, {nullptr, 0, dim}};
  CHECK_NOTHROW(run_experts_saved(plan, bank, none, saved, {}, workspace));
  CHECK_NOTHROW(experts_backward(plan, bank, none, saved, none, {}, grads, nullptr, {nullptr, 0, dim}, workspace));
}

TEST_CASE("rows of experts that go back in parts have the gradients of all, the same bits for any number of threads") {
  SECTION("plain experts") { check_parts<ExpertBank<Wide>>(); }
  SECTION("residual experts") { check_parts<ResidualExpertBank<Wide>>(); }
}
