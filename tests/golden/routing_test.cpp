/// Routers and dispatch of the manifests, with run-time sizes.
#include "golden/typed_gradients.hpp"

#include <moevit/layers/made_operands.hpp>
#include <moevit/moe/dispatch.hpp>
#include <moevit/moe/top_k_router.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

/// A router of any size: a kernel and the library's functions over spans.
struct RuntimeRouter {
  Index dim, experts;
  std::vector<float> x;  // (G, S, D)
  AlignedBuffer<float> packed;
  simd::PackedView kernel;
  Workspace workspace{ScratchBytes{0, router_worker_bytes(std::ssize(x) / dim, dim)}};

  explicit RuntimeRouter(const GoldenCase& golden)
      : dim(golden.shape("params/dense/kernel")[0]),
        experts(golden.shape("params/dense/kernel")[1]),
        x(golden.floats("inputs/x")),
        packed(simd::packed_size(dim, experts)),
        kernel(simd::pack(golden.floats("params/dense/kernel").data(), experts, dim, experts, packed.data())) {}

  /// Scores all tokens and leaves the plan of `assign(gates, group, options, plan, scratch)`.
  template <class Assign>
  void route(Index group, const RoutingOptions& options, Routing& routing, Assign assign) {
    const ConstMatrixView tokens(x.data(), std::ssize(x) / dim, dim);
    const RouteRequest request{tokens, 1, tokens.rows(), 1, 0, 1, options, workspace};
    score_tokens(request, kernel, nullptr, 1, routing);
    assign(routing.gates(), group, options, routing.plan, routing.scratch);
  }
};

/// One value of every choice, in the order of the plan.
template <class T, class Of>
std::vector<T> of_choices(const SparsePlan& plan, Of of) {
  std::vector<T> values;
  for (const Choice& choice : plan.choices()) values.push_back(of(choice));
  return values;
}

void compare_choices(CaseOutputs& outputs, const SparsePlan& plan) {
  outputs.equal("expert", of_choices<std::int32_t>(plan, [](const Choice& choice) { return choice.expert; }));
  outputs.equal("slot", of_choices<std::int32_t>(plan, [](const Choice& choice) { return choice.slot; }));
  outputs.close("weight", of_choices<float>(plan, [](const Choice& choice) { return choice.gate; }));
}

/// Sum of the combine weights times their cotangent.
double combine_loss(const GoldenCase& golden, const RoutedBatch& batch) {
  return dot(combine_weights(batch), golden.floats("inputs/cotangent_combine"));
}

/// The gradients of combine_loss + losses to the router's kernel and to the tokens.
void compare_router_gradients(const RoutedBatch& batch, const RuntimeRouter& router, const GoldenCase& golden) {
  const SparsePlan& plan = batch.plan();
  const std::vector<float> cotangent = golden.floats("inputs/cotangent_combine");
  std::vector<float> d_weights(static_cast<std::size_t>(plan.rows()));
  for (int expert = 0; expert < plan.experts(); ++expert)
    for (Index row = plan.first_row(expert); row < plan.first_row(expert) + plan.kept(expert); ++row) {
      const Index token = plan.row_tokens()[static_cast<std::size_t>(row)];
      d_weights[static_cast<std::size_t>(row)] = cotangent[static_cast<std::size_t>(token * plan.experts() + expert)];
    }
  RowMajorMatrix logits(plan.tokens(), plan.experts());
  const MatrixView d_logits(logits.data(), logits.rows(), logits.cols());
  Workspace workspace({0, 0});
  gate_gradient(batch.routing, d_weights, batch.settings.options, 1, d_logits, workspace);
  softmax_gradient(batch.routing.gates(), d_logits, workspace);
  add_losses_of_groups(batch, 1., d_logits);
  const ConstMatrixView x(router.x.data(), plan.tokens(), router.dim);
  std::vector<float> d_kernel(static_cast<std::size_t>(router.dim * router.experts)), d_x(router.x.size());
  Arena arena(made_operands_bytes(plan.tokens(), router.experts, router.dim));
  const std::vector<float> kernel = golden.floats("params/dense/kernel");
  multiply_transpose(x, d_logits, {d_kernel.data(), router.dim, router.experts}, arena);
  multiply_by_transpose(d_logits, {kernel.data(), router.dim, router.experts}, {d_x.data(), plan.tokens(), router.dim},
                        arena);
  if (golden.has("grads/params/dense/kernel")) expect_close(golden, "grads/params/dense/kernel", d_kernel);
  compare_input_gradient(golden, "x", d_x, false);
}

void run_top_k(const GoldenCase& golden) {
  RuntimeRouter router(golden);
  RouterSettings settings = read_router(golden.config, !golden.has("inputs/noise_unit"));
  StoredNoise noise({}, router.experts);
  if (golden.has("inputs/noise_unit")) noise.add(0, golden.floats("inputs/noise_unit"));
  settings.options.noise = &noise;
  const Index group = golden.shape("inputs/x")[1];
  Routing routing;
  router.route(group, settings.options, routing, [](auto&&... arguments) { assign_top_k(arguments...); });
  const RoutedBatch batch{routing, settings, {}, group};
  CHECK(routing.plan.capacity() == golden.config.at("capacity").get<Index>());
  CaseOutputs outputs(golden);
  outputs.close("gates", routing.gates());
  compare_choices(outputs, routing.plan);
  const LossesOfGroups losses = compare_router(outputs, "", batch, has_stable_slots(golden));
  outputs.close("loss", combine_loss(golden, batch) + losses.sum());
  outputs.finish();
  compare_router_gradients(batch, router, golden);
}

/// What the reference reports about a group of expert choice: experts per token, smallest and largest chosen gate,
/// share of the tokens with at least 1, 2, 4, ... experts.
void compare_metrics(CaseOutputs& outputs, const RoutedBatch& batch) {
  std::vector<std::int32_t> fewest, most;
  std::vector<float> smallest, largest;
  std::map<Index, std::vector<float>> shares;
  for (Index group = 0; group < batch.groups(); ++group) {
    std::vector<Index> counts(static_cast<std::size_t>(batch.group));
    std::vector<float> gates;
    for (Index token = 0; token < batch.group; ++token) {
      const auto rows = batch.plan().rows_of_token(static_cast<int>(group * batch.group + token));
      counts[static_cast<std::size_t>(token)] = std::ssize(rows);
      for (const TokenRow& row : rows) gates.push_back(row.gate);
    }
    fewest.push_back(static_cast<std::int32_t>(*std::min_element(counts.begin(), counts.end())));
    most.push_back(static_cast<std::int32_t>(*std::max_element(counts.begin(), counts.end())));
    smallest.push_back(*std::min_element(gates.begin(), gates.end()));
    largest.push_back(*std::max_element(gates.begin(), gates.end()));
    for (Index least = 1; least <= batch.experts(); least *= 2) {
      const auto found = std::count_if(counts.begin(), counts.end(), [least](Index count) { return count >= least; });
      shares[least].push_back(static_cast<float>(found) / static_cast<float>(batch.group));
    }
  }
  outputs.equal("metrics/num_experts_per_item_min", fewest);
  outputs.equal("metrics/num_experts_per_item_max", most);
  outputs.close("metrics/min_selected_gate", smallest);
  outputs.close("metrics/max_selected_gate", largest);
  for (const auto& [least, share] : shares)
    outputs.close("metrics/ratio_processed_items_by_at_least_" + std::to_string(least) + "_experts", share);
}

void run_expert_choice(const GoldenCase& golden) {
  RuntimeRouter router(golden);
  RouterSettings settings = read_router(golden.config, !golden.has("inputs/noise_unit"));
  StoredNoise noise({}, router.experts);
  if (golden.has("inputs/noise_unit")) noise.add(0, golden.floats("inputs/noise_unit"));
  settings.options.noise = &noise;
  const Index group = golden.shape("inputs/x")[1];
  Routing routing;
  router.route(group, settings.options, routing, [](auto&&... arguments) { assign_expert_choice(arguments...); });
  const RoutedBatch batch{routing, settings, {}, group};
  CHECK(routing.plan.capacity() == golden.config.at("capacity").get<Index>());
  CaseOutputs outputs(golden);
  outputs.close("gates", routing.gates());
  outputs.equal("item", of_choices<std::int32_t>(routing.plan, [group](const Choice& choice) {
                  return choice.token % static_cast<std::int32_t>(group);
                }));
  outputs.close("weight", of_choices<float>(routing.plan, [](const Choice& choice) { return choice.gate; }));
  compare_router(outputs, "", batch, has_stable_slots(golden));
  compare_metrics(outputs, batch);
  outputs.close("loss", combine_loss(golden, batch));
  outputs.finish();
  compare_router_gradients(batch, router, golden);
}

/// The row of a group's slot in the reference's buffer of one expert. When the number of groups is a multiple of the
/// number of experts, groups lie in the order of its layout over several devices.
Index buffer_row(Index group, Index slot, Index groups, Index experts, Index capacity) {
  if (groups % experts != 0) return group * capacity + slot;
  const Index a = group / (groups / experts), b = group % (groups / experts);
  return (b * experts + a) * capacity + slot;
}

/// The reference's padded buffers, (E, G*C, D), built from the plan's slots.
std::vector<float> dispatched(const RoutedBatch& batch, ConstMatrixView x) {
  const Index capacity = batch.plan().capacity(), rows = batch.groups() * capacity, dim = x.cols();
  std::vector<float> buffer(static_cast<std::size_t>(batch.experts() * rows * dim));
  for (const Choice& choice : batch.plan().choices()) {
    if (choice.slot < 0) continue;
    const Index row = buffer_row(choice.token / batch.group, choice.slot, batch.groups(), batch.experts(), capacity);
    std::copy_n(x.row_data(choice.token), dim, buffer.begin() + (choice.expert * rows + row) * dim);
  }
  return buffer;
}

/// The plan's rows through experts that return what they get.
std::vector<float> combined(const SparsePlan& plan, ConstMatrixView x) {
  RowMajorMatrix rows(plan.rows(), x.cols());
  for (Index row = 0; row < rows.rows(); ++row) rows.row(row) = x.row(plan.row_tokens()[static_cast<std::size_t>(row)]);
  std::vector<float> y(static_cast<std::size_t>(x.rows() * x.cols()));
  Workspace workspace{ScratchBytes{}};
  combine(plan, view_of(rows), nullptr, MatrixView(y.data(), x.rows(), x.cols()), workspace);
  return y;
}

void run_dispatch(const GoldenCase& golden) {
  RouterSettings settings;
  settings.options.selected = golden.config.at("num_selected_experts");
  read_dispatcher(golden.config.at("dispatcher"), settings.options);
  const Shape& shape = golden.shape("inputs/gates");
  const std::vector<float> gates = golden.floats("inputs/gates"), x = golden.floats("inputs/x");
  Routing routing;
  assign_top_k(ConstMatrixView(gates.data(), shape[0] * shape[1], shape[2]), shape[1], settings.options, routing.plan,
               routing.scratch);
  const RoutedBatch batch{routing, settings, {}, shape[1]};
  CHECK(routing.plan.capacity() == golden.config.at("capacity").get<Index>());
  CaseOutputs outputs(golden);
  compare_choices(outputs, routing.plan);
  outputs.close("combine", combine_weights(batch));
  compare_slots(outputs, "slot_by_expert", batch, true);
  const ConstMatrixView tokens(x.data(), shape[0] * shape[1], golden.shape("inputs/x").back());
  for (const char* dispatcher : {"", "_indices"}) {
    outputs.close(std::string("dispatched") + dispatcher, dispatched(batch, tokens));
    outputs.close(std::string("combined") + dispatcher, combined(routing.plan, tokens));
  }
  outputs.finish();
}

}  // namespace

TEST_CASE("golden: topk_router") { run_kind("topk_router", run_top_k); }
TEST_CASE("golden: dispatch") { run_kind("dispatch", run_dispatch); }
TEST_CASE("golden: expert_choice_router") { run_kind("expert_choice_router", run_expert_choice); }
