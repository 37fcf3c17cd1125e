/// Training passes through the experts of a plan: forward with what backward needs, and backward.
#pragma once

#include <moevit/moe/dispatch.hpp>
#include <moevit/simd/row_gradients.hpp>

namespace moevit {

/// A bank that can be trained: its experts, which expert(number) gives, have what Mlp has for that, and it has
/// training_bytes and add_gradients() as ExpertBank.
template <class B>
concept TrainableBank = Bank<B> && requires(const B& bank, Arena& arena, MatrixView rows) {
  { B::ExpertType::saved_width } -> std::convertible_to<Index>;
  bank.expert(Index{0}).forward_saved(ConstMatrixView(rows), rows, rows, arena, ElementMask());
  typename B::ExpertType::Transposed;
  { B::training_bytes } -> std::convertible_to<Index>;
};

/// What the experts leave for backward, one row per row of the plan.
struct SavedExperts {
  MatrixView hidden;   ///< plan.rows() x the experts' saved_width
  MatrixView outputs;  ///< plan.rows() x D
};

/// How a training pass runs its experts.
struct ExpertPass {
  bool bf16 = false;  ///< rows are rounded to bfloat16 before and after the expert
  ExpertMasks masks = {};
  /// Where outputs add up unweighted but gradients are those of weighted ones: see RoutingOptions::aligned_gradients.
  const Routing* aligned = nullptr;
};

/// Outputs of an expert under their mask, and rounded as on their way; row 0 of y is row `first` of the mask.
inline void mask_and_round(const ElementMask& mask, bool bf16, Index first, MatrixView y) {
  for (Index row = 0; row < y.rows(); ++row) {
    mask.apply(first + row, y.row_data(row), y.cols());
    if (bf16) simd::round_row_to_bf16(y.row_data(row), y.cols());
  }
}

/// As run_experts, filling `saved`. Throws Error when the plan has more rows than there is room for.
template <TrainableBank B>
void run_experts_saved(const SparsePlan& plan, const B& bank, ConstMatrixView x, const SavedExperts& saved,
                       const ExpertPass& pass, Workspace& workspace) {
  if (plan.rows() > saved.outputs.rows())
    fail("training pass: expected at most the ", saved.outputs.rows(), " rows of experts that were reserved, found ",
         plan.rows());
  const Arena::Scope scope(workspace.shared());
  const auto tasks = workspace.shared().template take<ExpertTask>(plan.experts() + plan.rows());
  const Index most = most_task_rows(plan.rows(), workspace.workers(), B::block_rows);
  workspace.parallel(list_tasks(plan, most, tasks), [&](Index number, Arena& arena) {
    const ExpertTask& task = tasks[number];
    float* room = arena.take<float>(task.rows * B::dim);
    const MatrixView y = saved.outputs.rows_of(task.first_row, task.rows);
    bank.expert(task.expert)
        .forward_saved(gather_rows(plan, task, x, pass.bf16, room), saved.hidden.rows_of(task.first_row, task.rows), y,
                       arena, pass.masks.hidden.from(task.first_row));
    mask_and_round(pass.masks.outputs, pass.bf16, task.first_row, y);
  });
}

namespace detail {

/// The gate that the router gave to a row of the plan, whatever its weight.
inline float router_gate(const Routing& routing, Index token, Index row) {
  const SparsePlan& plan = routing.plan;
  int expert = 0;
  while (row >= plan.first_row(expert) + plan.kept(expert)) ++expert;
  return routing.gates()(token / (plan.tokens() / routing.rows()), expert);
}

/// Every row's output becomes the gradient of that output before its mask, gate * d_combined[token]; the gradient of
/// its gate is added to d_gates.
inline void spread_gradient(const SparsePlan& plan, ConstMatrixView d_combined, MatrixView outputs,
                            const ExpertPass& pass, float* d_gates, Workspace& workspace) {
  const Index dim = d_combined.cols();
  workspace.parallel_rows(plan.tokens(), 256, [&](Index first, Index count, Arena&) {
    for (Index token = first; token < first + count; ++token)
      for (const TokenRow& entry : plan.rows_of_token(static_cast<int>(token))) {
        const float* d = d_combined.row_data(token);
        float* row = outputs.row_data(entry.row);
        const float gate = pass.aligned ? router_gate(*pass.aligned, token, entry.row) : entry.gate;
        d_gates[entry.row] += simd::dot_row(d, row, dim);
        for (Index i = 0; i < dim; ++i) row[i] = gate * d[i];
        pass.masks.outputs.apply(entry.row, row, dim);
      }
  });
}

/// dx[token of row] += d_rows for rows of one expert, none of which share a token.
inline void scatter_gradient(const SparsePlan& plan, RowRange range, ConstMatrixView d_rows, MatrixView dx,
                             Workspace& workspace) {
  const std::int32_t* tokens = plan.row_tokens().data() + range.first;
  workspace.parallel_rows(range.count, 256, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row)
      simd::add_scaled_row(1.f, d_rows.row_data(row), dx.cols(), dx.row_data(tokens[row]));
  });
}

/// Rows of the plan that go back at a time, of several experts or of a part of one.
template <TrainableBank B>
constexpr Index backward_rows(Index rows) {
  return std::min(rows, rows_of_training_part(4 * B::dim + 2 * B::ExpertType::saved_width));
}

/// Gradients of such rows while they are computed.
struct RowGradients {
  MatrixView x, d_hidden, dx;

  static RowGradients take(Index rows, Index dim, Index hidden, Arena& arena) {
    const auto take = [&](Index width) { return MatrixView(arena.take<float>(rows * width), rows, width); };
    return {take(dim), take(hidden), take(dim)};
  }
};

/// The input rows of a task, in `room` whether they are consecutive tokens or not.
inline void copy_rows(const SparsePlan& plan, const ExpertTask& task, ConstMatrixView x, bool bf16, MatrixView room) {
  const ConstMatrixView seen = gather_rows(plan, task, x, bf16, room.data());
  if (seen.data() == room.data()) return;
  for (Index row = 0; row < task.rows; ++row) std::copy_n(seen.row_data(row), x.cols(), room.row_data(row));
}

}  // namespace detail

/// Shared scratch and scratch per worker of the two functions of this header, for plans of up to `rows` rows.
template <TrainableBank B>
constexpr ScratchBytes dispatch_training_scratch(Index rows, Index experts) {
  using X = typename B::ExpertType;
  const Index block = largest_block(rows, B::block_rows), at_once = detail::backward_rows<B>(rows);
  return {B::training_bytes + arena_bytes<ExpertTask>(experts + rows) + arena_bytes<typename X::Transposed>(experts) +
              experts * X::transposed_bytes + 2 * arena_bytes<float>(at_once * B::dim) +
              arena_bytes<float>(at_once * X::saved_width),
          std::max(arena_bytes<float>(block * B::dim) + tiles_bytes(block, B::dim) + X::saved_scratch_bytes(block),
                   X::backward_worker_bytes(block, at_once))};
}

/// From d_combined (tokens x D), the gradient of sum over rows of gate * output: adds to dx (tokens x D), to grads, and
/// to d_gates (one per row of the plan). `saved` is used up. x: what the experts saw, tokens x D.
template <TrainableBank B>
void experts_backward(const SparsePlan& plan, const B& bank, ConstMatrixView x, const SavedExperts& saved,
                      ConstMatrixView d_combined, const ExpertPass& pass, B& grads, float* d_gates, MatrixView dx,
                      Workspace& workspace) {
  using X = typename B::ExpertType;
  Arena& shared = workspace.shared();
  const Arena::Scope scope(shared);
  const Index at_once = detail::backward_rows<B>(plan.rows());
  const auto rows = detail::RowGradients::take(at_once, B::dim, X::saved_width, shared);
  const auto tasks = shared.template take<ExpertTask>(plan.experts() + at_once);
  const auto weights = shared.template take<typename X::Transposed>(plan.experts());
  for (int expert = 0; expert < plan.experts(); ++expert)
    if (plan.kept(expert) > 0) weights[expert] = bank.expert(expert).transposed(workspace);
  detail::spread_gradient(plan, d_combined, saved.outputs, pass, d_gates, workspace);

  each_part(plan.rows(), at_once, [&](Index first, Index count_of_part) {
    const RowRange range{first, count_of_part};
    const auto part = [&](MatrixView block, Index row, Index count) { return block.rows_of(row - first, count); };
    const Index most = most_task_rows(range.count, workspace.workers(), B::block_rows);
    workspace.parallel(list_tasks(plan, range, most, tasks), [&](Index number, Arena& arena) {
      const auto [expert, row, count] = tasks[number];
      detail::copy_rows(plan, tasks[number], x, pass.bf16, part(rows.x, row, count));
      X::backward_rows(weights[expert], saved.outputs.rows_of(row, count), saved.hidden.rows_of(row, count),
                       part(rows.d_hidden, row, count), part(rows.dx, row, count), arena, pass.masks.hidden.from(row));
    });
    const auto rows_of = [&](Index expert) {
      const auto [row, count] = range.of(plan, static_cast<int>(expert));
      return ExpertRows{part(rows.x, row, count), saved.hidden.rows_of(row, count), part(rows.d_hidden, row, count),
                        saved.outputs.rows_of(row, count)};
    };
    grads.add_gradients(bank, rows_of, workspace);
    for (int expert = 0; expert < plan.experts(); ++expert)
      if (const RowRange own = range.of(plan, expert); own.count > 0)
        detail::scatter_gradient(plan, own, part(rows.dx, own.first, own.count), dx, workspace);
  });
}

}  // namespace moevit
