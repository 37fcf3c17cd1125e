/// Rows of maps in window order: back to map order, and the mask of their scores.
#pragma once

#include <moevit/core/tensor.hpp>
#include <moevit/core/workspace.hpp>
#include <moevit/layers/window_grid.hpp>

#include <algorithm>

namespace moevit {

/// y (maps one behind the other) = the rows of x (in window order) that stand for its places.
inline void to_map_order(ConstMatrixView x, const WindowGrid& grid, MatrixView y, Workspace& workspace) {
  workspace.parallel_rows(y.rows(), 256, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row)
      std::copy_n(x.row_data(grid.row_of_map(row)), x.cols(), y.row_data(row));
  });
}

/// scores (area x area) += `masked` between places of a window that were no neighbours before the roll; takes
/// window_mask_bytes(area).
inline void add_window_mask(const WindowGrid& grid, Index window, float masked, MatrixView scores, Arena& arena) {
  const Arena::Scope scope(arena);
  const Index area = grid.area();
  Index* parts = arena.take<Index>(area);
  for (Index place = 0; place < area; ++place) parts[place] = grid.part_of(window, place);
  for (Index query = 0; query < area; ++query) {
    float* row = scores.row_data(query);
    for (Index key = 0; key < area; ++key) row[key] += parts[key] == parts[query] ? 0.f : masked;
  }
}
constexpr Index window_mask_bytes(Index area) { return arena_bytes<Index>(area); }

}  // namespace moevit
