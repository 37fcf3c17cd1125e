/// Patch merging: 2 x 2 places of a map become one of twice the width (Swin).
#pragma once

#include <moevit/core/map_size.hpp>
#include <moevit/layers/layer_norm.hpp>

namespace moevit {

/// The numbers of a PatchMerging.
struct PatchMergingConfig {
  Index dim = 96;
  Index result_dim = 192;
  float epsilon = 1e-5f;

  constexpr bool operator==(const PatchMergingConfig&) const = default;
};

/// y = norm([x(0, 0), x(1, 0), x(0, 1), x(1, 1)]) W with (row, column) of the place within its cell, W without bias,
/// dim -> result_dim; odd sides are padded with zeros. Nothing is saved for the backward pass, which computes it again.
/// Source: Liu et al. 2021, section 3.1.
template <PatchMergingConfig config>
class PatchMerging {
  static constexpr Index dim = config.dim;
  static constexpr Index result_dim = config.result_dim;
  static constexpr Index joined = 4 * dim;
  static constexpr Index block_rows = 112;
  using Reduction = Linear<joined, result_dim, false>;

 public:
  static constexpr Index input_width = dim;
  static constexpr Index output_width = result_dim;
  static constexpr MapSize result_size(MapSize map) { return map.in_cells(2, 2); }

  static constexpr ScratchBytes scratch(Index images, MapSize map) {
    const Index block = largest_block(images * result_size(map).places(), block_rows);
    return {0, arena_bytes<float>(joined) + Reduction::scratch_bytes(block)};
  }

  /// x: maps of `map`, y: maps of result_size(map).
  void forward(ConstMatrixView x, MapSize map, Index images, MatrixView y, Workspace& workspace) const {
    workspace.parallel_rows(images * result_size(map).places(), block_rows,
                            [&](Index first, Index count, Arena& arena) {
                              float* row = arena.take<float>(joined);
                              const simd::RowTiles normed = reduction_.take_input(count, arena);
                              simd::fill_tiles(normed, [&](Index number) {
                                join(x, map, first + number, row);
                                norm_.forward_row(row, row, config.epsilon);
                                return row;
                              });
                              const MatrixView target = y.rows_of(first, count);
                              reduction_.forward(normed, simd::RowsOut{target.data(), target.stride()});
                            });
  }

  /// Adds the gradients of the parameters to grads and assigns that of x to dx.
  void backward(ConstMatrixView x, MapSize map, Index images, ConstMatrixView dy, PatchMerging& grads, MatrixView dx,
                Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = images * result_size(map).places();
    const auto take = [&] { return MatrixView(shared.take<float>(rows * joined), rows, joined); };
    const MatrixView cells = take(), normed = take(), d_cells = take();
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) join(x, map, row, cells.row_data(row));
      norm_.forward(cells.rows_of(first, count), normed.rows_of(first, count), config.epsilon);
      std::fill_n(d_cells.row_data(first), count * joined, 0.f);
    });
    add_weight_gradient(normed, dy, grads.reduction_.gradient(), workspace);
    multiply_by_transposed(reduction_.kernel(), dy, normed, workspace);  // normed is not needed any more
    norm_.backward(cells, normed, grads.norm_, d_cells, config.epsilon, workspace);
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        each_part(map, row, [&](Index place, Index part) {
          if (place >= 0) std::copy_n(d_cells.row_data(row) + part * dim, dim, dx.row_data(place));
        });
    });
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize map) {
    const Index rows = images * result_size(map).places();
    return {3 * arena_bytes<float>(rows * joined) +
                std::max(Reduction::transposed_bytes, LayerNorm<joined>::backward_bytes(rows)),
            std::max({scratch(images, map).per_worker, weight_gradient_bytes(rows),
                      tiles_bytes(largest_block(rows, block_rows), result_dim)})};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    LayerNorm<joined>::each_parameter(self.norm_, join_name(prefix, "norm"), visit);
    Reduction::each_parameter(self.reduction_, join_name(prefix, "reduction"), Role::embedding, visit);
  }

 private:
  /// visit(row of x or -1 for padding, number) for the four places that a row of the result is made of.
  template <class Visit>
  static void each_part(MapSize map, Index row, Visit visit) {
    const MapSize cells = result_size(map);
    const Index image = row / cells.places(), cell = row % cells.places();
    for (Index part = 0; part < 4; ++part) {
      const Index y = 2 * (cell / cells.width) + part % 2, x = 2 * (cell % cells.width) + part / 2;
      visit(y < map.height && x < map.width ? (image * map.height + y) * map.width + x : -1, part);
    }
  }
  static void join(ConstMatrixView x, MapSize map, Index row, float* out) {
    each_part(map, row, [&](Index place, Index part) {
      if (place < 0)
        std::fill_n(out + part * dim, dim, 0.f);
      else
        std::copy_n(x.row_data(place), dim, out + part * dim);
    });
  }

  LayerNorm<joined> norm_;
  Reduction reduction_;
};

}  // namespace moevit
