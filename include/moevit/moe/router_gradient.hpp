/// From the gradients of a plan's weights to those of router logits.
#pragma once

#include <moevit/moe/gates.hpp>
#include <moevit/moe/routing.hpp>
#include <moevit/simd/row_gradients.hpp>

#include <functional>
#include <span>
#include <vector>

namespace moevit {

namespace detail {

/// weight = gate / (sum of the k chosen gates): from the gradients of weights (dropped ones have 0) to those of gates.
inline void renormalise_gradient(std::span<const Choice> choices, Index k, Index tokens_per_row, ConstMatrixView gates,
                                 MatrixView d_gates) {
  for (std::size_t first = 0; first < choices.size(); first += static_cast<std::size_t>(k)) {
    const auto own = choices.subspan(first, static_cast<std::size_t>(k));
    if (own.front().token % tokens_per_row != 0) continue;  // an image's choices are those of its first token
    const Index row = own.front().token / tokens_per_row;
    float sum = 0.f, mean = 0.f;
    for (const Choice& choice : own) sum += gates(row, choice.expert);
    for (const Choice& choice : own) mean += d_gates(row, choice.expert) * choice.gate;
    for (const Choice& choice : own) d_gates(row, choice.expert) = (d_gates(row, choice.expert) - mean) / sum;
  }
}

}  // namespace detail

/// d_gates (assigned; rows x E, a row for every `tokens_per_row` tokens) from d_weights, one per row of the plan.
inline void gate_gradient(const Routing& routing, std::span<const float> d_weights, const RoutingOptions& options,
                          Index tokens_per_row, MatrixView d_gates, Workspace& workspace) {
  const SparsePlan& plan = routing.plan;
  std::fill_n(d_gates.data(), d_gates.size(), 0.f);
  if (!options.scale_by_gate && !options.aligned_gradients) return;  // all weights are 1
  workspace.parallel(plan.experts(), [&](Index task, Arena&) {
    const auto expert = static_cast<int>(task);
    for (Index row = plan.first_row(expert); row < plan.first_row(expert) + plan.kept(expert); ++row) {
      const auto i = static_cast<std::size_t>(row);
      d_gates(plan.row_tokens()[i] / tokens_per_row, expert) += d_weights[i];
    }
  });
  if (options.renormalise && options.scale_by_gate)
    detail::renormalise_gradient(plan.choices(), options.selected, tokens_per_row, routing.gates(), d_gates);
}

/// d_gates becomes the gradient of the logits that the gates are the softmax of.
inline void softmax_gradient(ConstMatrixView gates, MatrixView d_gates, Workspace& workspace) {
  workspace.parallel_rows(gates.rows(), 256, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row)
      simd::softmax_gradient_row(gates.row_data(row), d_gates.row_data(row), gates.cols(), 1.f, d_gates.row_data(row));
  });
}

/// Adds the gradient of a router's auxiliary losses to that of its logits, rows x E; nothing where it is not set.
using AddLossGradient = std::function<void(const Routing& routing, MatrixView d_logits)>;

/// What the blocks behind a router found: the gradient of every weight of its plan.
struct PlanGradient {
  std::vector<float> weights;  ///< one per row of the plan

  /// Begins with zeros for this plan.
  void start(const SparsePlan& plan) { weights.assign(static_cast<std::size_t>(plan.rows()), 0.f); }
};

/// A router that learns: backward(request, routing, plan gradient, losses, grads, dx) adds to grads, another object of
/// its type, and to dx, the gradient of the request's tokens. backward_scratch(rows) is what that takes, for rows of
/// its logits.
template <class R>
concept LearningRouter = requires(const R& router, R& grads, const RouteRequest& request, const Routing& routing,
                                  const PlanGradient& plan, const AddLossGradient& losses, MatrixView dx) {
  { R::backward_scratch(Index{1}) } -> std::convertible_to<ScratchBytes>;
  router.backward(request, routing, plan, losses, grads, dx);
};

/// A router that can be part of a model in training: it learns, or it has nothing to learn.
template <class R>
concept TrainableRouter = LearningRouter<R> || !requires(R & router) {
  R::each_parameter(router, std::string(), [](auto&&) {});
};

}  // namespace moevit
