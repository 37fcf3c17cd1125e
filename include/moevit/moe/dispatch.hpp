/// Executes a plan: takes the rows of each expert to it, computes exactly those, and combines them by token.
#pragma once

#include <moevit/core/workspace.hpp>
#include <moevit/moe/expert_bank.hpp>
#include <moevit/moe/plan.hpp>
#include <moevit/moe/routing.hpp>
#include <moevit/simd/rows.hpp>

#include <atomic>

namespace moevit {

/// A block of rows of one expert: the unit of work.
struct ExpertTask {
  std::int32_t expert = 0;
  std::int32_t first_row = 0;
  std::int32_t rows = 0;
};

/// Bytes of shared scratch for a plan of at most `rows` rows: every row's output, and the list of tasks.
template <class B>
constexpr Index dispatch_shared_bytes(Index rows, Index experts) {
  return arena_bytes<float>(rows * B::dim) + arena_bytes<ExpertTask>(experts + rows);
}

/// Bytes of scratch of a worker: for run_and_combine() the outputs of a block; either gathered rows or one rounded row;
/// and what an expert needs for them.
template <class B>
constexpr Index dispatch_worker_bytes(Index rows) {
  const Index block = std::min(rows, Index{B::block_rows}), gathered = GatheringBank<B> ? 1 : block;
  return arena_bytes<float>(block * B::dim) + arena_bytes<float>(gathered * B::dim) + B::scratch_bytes(block);
}

/// Consecutive rows of a plan.
struct RowRange {
  Index first = 0;
  Index count = 0;

  /// Those of them that are an expert's.
  RowRange of(const SparsePlan& plan, int expert) const {
    const Index own = plan.first_row(expert);
    const Index begin = std::clamp(own, first, first + count);
    return {begin, std::clamp(own + plan.kept(expert), begin, first + count) - begin};
  }
};

/// Most rows of one task when experts of at most `block_rows` rows at a time share `rows` rows: as experts have uneven
/// loads, a few tasks for each worker, but none shorter than 64 rows on that account.
constexpr Index most_task_rows(Index rows, Index workers, Index block_rows) {
  const Index share = ceil_div(rows, workers);
  const Index most = workers > 1 ? std::max(ceil_div(share, 4), std::min(share, Index{64})) : share;
  return std::clamp(most, Index{1}, block_rows);
}

/// Cuts rows of a plan into tasks of at most `most` rows; returns their number. An expert without rows makes no task.
inline Index list_tasks(const SparsePlan& plan, RowRange range, Index most, ExpertTask* tasks) {
  Index count = 0;
  for (int expert = 0; expert < plan.experts(); ++expert) {
    const auto [first, rows] = range.of(plan, expert);
    each_part(rows, most, [&, start = first](Index begin, Index own) {
      tasks[count++] = {expert, static_cast<std::int32_t>(start + begin), static_cast<std::int32_t>(own)};
    });
  }
  return count;
}
/// The same for all rows.
inline Index list_tasks(const SparsePlan& plan, Index most, ExpertTask* tasks) {
  return list_tasks(plan, {0, plan.rows()}, most, tasks);
}

/// The input rows of a task: a view of x where they are consecutive tokens, else gathered into `room` (rows x D).
inline ConstMatrixView gather_rows(const SparsePlan& plan, const ExpertTask& task, ConstMatrixView x, bool bf16,
                                   float* room) {
  const std::int32_t* tokens = plan.row_tokens().data() + task.first_row;
  const bool consecutive = tokens[task.rows - 1] - tokens[0] == task.rows - 1;
  if (consecutive && !bf16) return x.rows_of(tokens[0], task.rows);
  for (Index row = 0; row < task.rows; ++row) {
    float* target = room + row * x.cols();
    std::copy_n(x.row_data(tokens[row]), x.cols(), target);
    if (bf16) simd::round_row_to_bf16(target, x.cols());
  }
  return {room, task.rows, x.cols()};
}

/// y = expert(x[token of row]) for the rows of a task, within dispatch_worker_bytes; x: tokens x D, y: task.rows x D.
/// bf16: rows are rounded to bfloat16 before and after the expert.
template <Bank B>
void run_task(const SparsePlan& plan, const ExpertTask& task, const B& bank, ConstMatrixView x, bool bf16, MatrixView y,
              Arena& arena) {
  if constexpr (GatheringBank<B>) {
    const std::int32_t* tokens = plan.row_tokens().data() + task.first_row;
    float* const rounded = arena.take<float>(B::dim);
    const auto row_of = [&](Index row) -> const float* {
      const float* const values = x.row_data(tokens[row]);
      if (!bf16) return values;
      std::copy_n(values, B::dim, rounded);
      simd::round_row_to_bf16(rounded, B::dim);
      return rounded;
    };
    bank.forward_rows(task.expert, task.rows, row_of, y, arena);
  } else {
    float* const room = arena.take<float>(task.rows * B::dim);
    bank.forward(task.expert, gather_rows(plan, task, x, bf16, room), y, arena);
  }
  if (bf16)
    for (Index row = 0; row < task.rows; ++row) simd::round_row_to_bf16(y.row_data(row), B::dim);
}

/// Calls run(task, arena) for every task of a plan, on all workers; returns the rows of all of them.
template <Bank B, class Run>
Index run_tasks(const SparsePlan& plan, ExpertTask* tasks, Workspace& workspace, Run run) {
  const Index most = most_task_rows(plan.rows(), workspace.workers(), B::block_rows);
  std::atomic<Index> multiplied = 0;
  workspace.parallel(list_tasks(plan, most, tasks), [&](Index number, Arena& arena) {
    run(tasks[number], arena);
    multiplied.fetch_add(tasks[number].rows, std::memory_order_relaxed);
  });
  return multiplied;
}

/// outputs[row] = expert(x[token of row]) for every row of the plan, and nothing else; returns the rows multiplied.
/// x: tokens x D, outputs: plan.rows() x D. bf16: rows are rounded to bfloat16 before and after the expert.
template <Bank B>
Index run_experts(const SparsePlan& plan, const B& bank, ConstMatrixView x, MatrixView outputs, bool bf16,
                  ExpertTask* tasks, Workspace& workspace) {
  return run_tasks<B>(plan, tasks, workspace, [&](const ExpertTask& task, Arena& arena) {
    run_task(plan, task, bank, x, bf16, outputs.rows_of(task.first_row, task.rows), arena);
  });
}

/// y[token] += scale * (sum over its rows, experts rising, of gate * outputs[row]). A token without rows stays as it
/// is. `scale` (layer scale, one float per column) may be null. outputs: plan.rows() x D, y: tokens x D. The sum is
/// formed before it meets y, as simd::add_weighted_rows says, so a token's bits depend on its own rows alone.
inline void combine(const SparsePlan& plan, ConstMatrixView outputs, const float* scale, MatrixView y,
                    Workspace& workspace) {
  // A token's rows lie with its experts. Few experts are streams that the processor follows by itself; the rows of many
  // are asked for some tokens ahead.
  const Index ahead = plan.experts() > 16 ? 4 : plan.tokens();
  workspace.parallel_rows(plan.tokens(), 256, [&](Index first, Index count, Arena&) {
    const auto rows_of = [&](Index token) { return plan.rows_of_token(static_cast<int>(token)); };
    for (Index token = first; token < first + count; ++token) {
      if (token + ahead < first + count)
        for (const TokenRow& entry : rows_of(token + ahead))
          simd::prefetch_short_row(outputs.row_data(entry.row), y.cols());
      const std::span<const TokenRow> entries = rows_of(token);
      if (entries.empty()) continue;
      simd::add_weighted_rows(
          std::ssize(entries), [&](Index i) { return outputs.row_data(entries[static_cast<std::size_t>(i)].row); },
          [&](Index i) { return entries[static_cast<std::size_t>(i)].gate; }, scale, y.cols(), y.row_data(token));
    }
  });
}

/// run_experts() and combine() for a plan with at most one row per token: outputs are added right behind their expert,
/// while they are in the cache. The bits are the same. x, y: tokens x D; `scale` may be null; returns the rows
/// multiplied.
template <Bank B>
Index run_and_combine(const SparsePlan& plan, const B& bank, ConstMatrixView x, const float* scale, MatrixView y,
                      bool bf16, ExpertTask* tasks, Workspace& workspace) {
  return run_tasks<B>(plan, tasks, workspace, [&](const ExpertTask& task, Arena& arena) {
    const MatrixView outputs(arena.take<float>(task.rows * B::dim), task.rows, B::dim);
    run_task(plan, task, bank, x, bf16, outputs, arena);
    const std::int32_t* const tokens = plan.row_tokens().data() + task.first_row;
    for (Index row = 0; row < task.rows; ++row) {
      const float gate = plan.rows_of_token(tokens[row]).front().gate;
      simd::add_weighted_rows(
          1, [&](Index) { return outputs.row_data(row); }, [&](Index) { return gate; }, scale, B::dim,
          y.row_data(tokens[row]));
    }
  });
}

}  // namespace moevit
