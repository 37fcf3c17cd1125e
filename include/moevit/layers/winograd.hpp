/// 3 x 3 convolutions of many channels by Winograd's minimal filtering (simd/winograd.hpp).
#pragma once

#include <moevit/core/convolution_window.hpp>
#include <moevit/core/tensor.hpp>
#include <moevit/core/workspace.hpp>
#include <moevit/layers/weight_matrix.hpp>
#include <moevit/simd/winograd.hpp>

namespace moevit {

/// y = epilogue(x * W) over maps. The weights are transformed in each call, into scratch, so that there is one copy of
/// them to train, store and map: 16 / 9 of their floats are shared scratch. In bfloat16 the transformed places and
/// weights are rounded, and results are off by nearly twice as much as without.
template <Index inputs, Index outputs, ConvolutionWindow window>
class Winograd {
 public:
  /// Whether the convolution can be computed so.
  static constexpr bool is_possible = window.kernel == 3 && window.stride == 1 &&
                                      inputs % simd::winograd_channels == 0 && outputs % simd::winograd_channels == 0;
  /// Whether it also saves time: a cell takes as long as 20 products of one place and tap, its transforms included, and
  /// the weights' transforms as long as 270. Measured: with 8 x 8 places both ways take as long, with 10 x 10 this one
  /// is 1.1 to 1.3 times as fast, with 28 x 28 twice. Depends on nothing but the map, so an image has the same bits in
  /// any batch.
  static constexpr bool is_useful_for(MapSize result) {
    return is_possible && 20 * cells_of(result).places() + 270 < window.taps() * result.places();
  }
  /// Whether there are kernels for such weights.
  static bool takes(const simd::PackedView& kernel) { return kernel.format != simd::WeightFormat::int8; }

  /// For floats; other storages take less.
  static constexpr ScratchBytes scratch(Index images, MapSize result) {
    const Index block = largest_block(images * cells_of(result).places(), block_cells);
    return {taps * matrix_bytes + arena_bytes<float>(inputs),
            taps * (tile_bytes(block) + sum_floats(block) * 4) + arena_bytes<float>(4 * outputs)};
  }

  /// The epilogue has no factors. x: (images * places) x inputs, y: (images * places of `result`) x outputs; kernel: (9
  /// * inputs) x outputs.
  static void forward(const simd::PackedView& kernel, ConstMatrixView x, MapSize size, Index images, MatrixView y,
                      MapSize result, const simd::Epilogue& epilogue, Workspace& workspace) {
    const Arena::Scope scope(workspace.shared());
    const simd::WinogradWeights weights = transformed(kernel, workspace);
    float* const zeros = workspace.shared().take<float>(inputs);
    std::fill_n(zeros, inputs, 0.f);
    const MapSize cells = cells_of(result);
    workspace.parallel_rows(images * cells.places(), block_cells, [&](Index first, Index count, Arena& arena) {
      const Index tile_step = tile_bytes(count), sum_step = sum_floats(count);
      const simd::RowTiles tiles = simd::empty_tiles(count, weights.first, arena.take<std::byte>(taps * tile_step));
      float* const sums = arena.take<float>(taps * sum_step);
      float* const room = arena.take<float>(4 * outputs);
      simd::WinogradPlaces places;
      simd::fill_winograd_tiles(tiles, tile_step, [&](Index row) {
        places = places_of(x, size, place_of(first + row, cells), zeros);
        return &places;
      });
      simd::RowTiles left = tiles;
      for (Index tap = 0; tap < taps; ++tap, left.data += tile_step)
        simd::gemm(left, weights[tap], {}, simd::RowsOut{sums + tap * sum_step, outputs});
      for (Index row = 0; row < count; ++row)
        simd::put_winograd_results(sums + row * outputs, sum_step, outputs,
                                   results_of(place_of(first + row, cells), result), epilogue,
                                   simd::RowsOut{y.data(), y.stride()}, room);
    });
  }

 private:
  static constexpr Index taps = simd::winograd_taps;
  static constexpr Index matrix_bytes = simd::packed_size(inputs, outputs) * 4;
  /// Cells that a worker has at a time: all weights are read once for them.
  static constexpr Index block_cells = 112;

  static constexpr Index tile_bytes(Index rows) { return rows * simd::tiled_row_bytes(inputs); }
  static constexpr Index sum_floats(Index rows) { return rows * outputs; }
  static constexpr MapSize cells_of(MapSize result) { return result.in_cells(2, 2); }

  static simd::WinogradWeights transformed(const simd::PackedView& kernel, Workspace& workspace) {
    const bool is_float = !kernel.kernel || kernel.kernel->rows == simd::RowFormat::float32;
    simd::PackedView view{.data = workspace.shared().take<std::byte>(taps * matrix_bytes),
                          .rows = inputs,
                          .cols = outputs,
                          .panel = kernel.panel};
    if (!is_float) view.format = kernel.format, view.kernel = kernel.kernel;
    const simd::WinogradWeights weights{view, simd::packed_size(inputs, outputs, view.format) * 4};
    workspace.parallel(kernel.panels(),
                       [&](Index panel, Arena&) { simd::put_winograd_weights(kernel, panel, weights); });
    return weights;
  }

  /// The places that a cell reads, `zeros` where they are beside the map.
  static simd::WinogradPlaces places_of(ConstMatrixView x, MapSize size, MapPlace cell, const float* zeros) {
    const MapPlace corner = window.corner_of({cell.image, 2 * cell.row, 2 * cell.column});
    simd::WinogradPlaces places;
    for (Index i = 0; i < taps; ++i) {
      const Index row = corner.row + i / 4, column = corner.column + i % 4;
      const bool is_inside = row >= 0 && row < size.height && column >= 0 && column < size.width;
      places[static_cast<std::size_t>(i)] =
          is_inside ? x.row_data((cell.image * size.height + row) * size.width + column) : zeros;
    }
    return places;
  }

  static simd::WinogradCell results_of(MapPlace cell, MapSize result) {
    const Index row = 2 * cell.row, column = 2 * cell.column;
    return {.row = (cell.image * result.height + row) * result.width + column,
            .row_step = result.width,
            .height = std::min(result.height - row, Index{2}),
            .width = std::min(result.width - column, Index{2})};
  }
};

}  // namespace moevit
