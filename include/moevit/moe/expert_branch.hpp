/// What a block does around its experts in training passes: the sum with the stream, and where gradients begin.
#pragma once

#include <moevit/layers/masks.hpp>

namespace moevit {

/// Rows that a worker takes at a time here.
inline constexpr Index branch_block_rows = 256;

/// A matrix of zeros in shared scratch.
inline MatrixView zero_rows(Index rows, Index cols, Workspace& workspace) {
  const MatrixView zeros(workspace.shared().take<float>(rows * cols), rows, cols);
  workspace.parallel_rows(rows, branch_block_rows, [&](Index first, Index count, Arena&) {
    std::fill_n(zeros.row_data(first), count * cols, 0.f);
  });
  return zeros;
}

/// Makes `result` what experts add their outputs to: the stream, or zeros if the outputs will meet a mask first.
inline void begin_expert_branch(ConstMatrixView stream, const BranchMask& mask, MatrixView result,
                                Workspace& workspace) {
  const bool is_masked = mask.is_active();
  workspace.parallel_rows(result.rows(), branch_block_rows, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row)
      if (is_masked)
        std::fill_n(result.row_data(row), result.cols(), 0.f);
      else
        std::copy_n(stream.row_data(row), result.cols(), result.row_data(row));
  });
}

/// Makes `result`, where experts have added their outputs, stream + [scale *] masked outputs, if it is not yet: without
/// a mask the experts scaled and added them. scale may be null.
inline void end_expert_branch(ConstMatrixView stream, const float* scale, const BranchMask& mask, MatrixView result,
                              Workspace& workspace) {
  if (!mask.is_active()) return;
  workspace.parallel_rows(result.rows(), branch_block_rows, [&](Index first, Index count, Arena&) {
    add_masked_branch(stream.rows_of(first, count), scale, mask.from(first), result.rows_of(first, count));
  });
}

}  // namespace moevit
