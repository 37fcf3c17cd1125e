/// y = epilogue(x W) with x in tiles of rows and W in panels.
///
/// How it works: the outer loop goes over groups of columns of W, the inner one over the tiles of x, so weights are
/// fetched once and stay in a near cache while all rows pass them. The microkernel of the weights (tile_kernel.hpp)
/// sums one tile in registers; the epilogue (epilogue.hpp) takes it to y. Where K is very large, it is gone
/// through in chunks (chunked_product.hpp).
#pragma once

#include <moevit/simd/chunked_product.hpp>
#include <moevit/simd/convert_rows.hpp>
#include <moevit/simd/product_tiles.hpp>

#include <cassert>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Tiles for `rows` rows of which columns of that width, all or a chunk, are to be multiplied with `w`; `room` has rows
/// * tiled_row_bytes(width) bytes on a cache line. The elements are not set.
template <class Arch = DefaultArch>
RowTiles empty_tiles(Index rows, Index width, const PackedView& w, std::byte* room) {
  const TileKernel& kernel = kernel_of<Arch>(w);
  return {.data = room,
          .rows = rows,
          .width = width,
          .row_bytes = tiled_row_bytes(width),
          .most_rows = kernel.most_rows,
          .format = kernel.rows,
          .put_row = kernel.put_row};
}
template <class Arch = DefaultArch>
RowTiles empty_tiles(Index rows, const PackedView& w, std::byte* room) {
  return empty_tiles<Arch>(rows, w.rows, w, room);
}

namespace detail {

/// Copies 16 floats; `target` lies on a cache line.
template <class Arch>
void copy_line(const float* source, float* target) {
#pragma GCC unroll 4
  for (Index i = 0; i < 16; i += lanes<Arch>) Batch<Arch>::load_unaligned(source + i).store_aligned(target + i);
}

}  // namespace detail

/// Copies floats to row `row` of a tile; what its last line has beyond the width is zero.
template <class Arch = DefaultArch>
MOEVIT_ALWAYS_INLINE void put_row(const float* x, Index width, const RowTile& tile, Index row) {
  float* target = reinterpret_cast<float*>(tile.row_data(row));
  const Index line = tile.line_step / 4, whole = width / 16 * 16;
  for (Index first = 0; first < whole; first += 16, target += line) detail::copy_line<Arch>(x + first, target);
  if (whole < width) {
    std::copy(x + whole, x + width, target);
    std::fill(target + (width - whole), target + 16, 0.f);
  }
}

namespace detail {

/// Writes floats to row `row` of a tile in the tiles' format.
template <class Arch>
MOEVIT_ALWAYS_INLINE void put_floats(const float* x, const RowTiles& tiles, const RowTile& tile, Index row) {
  if (tiles.format == RowFormat::float32)
    put_row<Arch>(x, tiles.width, tile, row);
  else
    put_reduced_row<Arch>({.data = reinterpret_cast<const std::byte*>(x)}, tiles, tile, row);
}

}  // namespace detail

/// Fills tiles row by row, in their format: row_of(row) points to its floats, valid until the next call.
template <class Arch = DefaultArch, class RowOf>
void fill_tiles(const RowTiles& tiles, RowOf row_of) {
  const TileList list = tiles.tiles();
  for (Index number = 0; number < list.count(); ++number) {
    const RowTile tile = list[number];
    for (Index row = 0; row < tile.rows; ++row)
      detail::put_floats<Arch>(row_of(tile.first_row + row), tiles, tile, row);
  }
}

/// Floats that a tall tile of rows x width floats takes.
constexpr Index tall_size(Index rows, Index width) { return rows * tiled_row_bytes(width) / 4; }

/// A tall tile of rows x width floats, to be multiplied with packed floats; `room` has tall_size(rows, width) floats on
/// a cache line. The elements are not set.
template <class Arch = DefaultArch>
RowTiles tall_tile(Index rows, Index width, float* room) {
  return {.data = reinterpret_cast<std::byte*>(room),
          .rows = rows,
          .width = width,
          .row_bytes = tiled_row_bytes(width),
          .most_rows = kernel_of<Arch>(PackedView()).most_rows,
          .line_step = rows * line_bytes};
}

/// Columns [16 line, 16 line + 16) of a tall tile, 16 floats from row to row.
inline float* line_of(const RowTiles& tall, Index line) {
  return reinterpret_cast<float*>(tall.data + line * tall.line_step);
}

/// A tall tile as the right operand of a product.
inline PackedView panels_of(const RowTiles& tall) {
  return {.data = tall.data, .rows = tall.rows, .cols = tall.width, .panel = line_bytes / 4};
}

/// The rows of x (rows x w.rows, `stride` floats apart) as tiles to be multiplied with w.
template <class Arch = DefaultArch>
RowTiles tile_rows(Index rows, const float* x, Index stride, const PackedView& w, std::byte* room) {
  const RowTiles tiles = empty_tiles<Arch>(rows, w, room);
  fill_tiles<Arch>(tiles, [&](Index row) { return x + row * stride; });
  return tiles;
}

namespace detail {

/// Weights of which the next columns are asked for while some are multiplied: they are hardly in the L2 cache when a
/// model gets to them, and the first tile of each group would wait for them. Swin-T took 0.93 of the time for it with
/// one image, a product of weights that are in the L2 cache up to 1.03.
inline constexpr Index asked_for_from = 256 * 1024;
/// With fewer tiles weights flow through anyhow, and asking for others is in their way.
inline constexpr Index asked_for_tiles = 3;

/// Asks for the columns from `col` on during `lines` lines of x.
inline Ahead ahead_of(const PackedView& w, Index col, Index lines) {
  const Index bytes = column_units(w.format, w.rows) * w.panel * 4;
  if (col >= w.cols || bytes * w.panels() < asked_for_from) return {};
  return Ahead::over(w.column_data(col), bytes, lines);
}

/// What a kernel needs of the thread during a product.
class KernelState {
 public:
  KernelState(const TileKernel& kernel, Index most_rows) : kernel_(kernel) {
    if (kernel_.begin) kernel_.begin(most_rows);
  }
  KernelState(const KernelState&) = delete;
  ~KernelState() {
    if (kernel_.end) kernel_.end();
  }

 private:
  const TileKernel& kernel_;
};

}  // namespace detail

/// y[x.rows x w.cols] = epilogue(x W). x was tiled for w; y (RowsOut, or TilesOut with tiles as high as those of x)
/// must not overlap x; the epilogue's residual may be y.
template <class Arch = DefaultArch, class Out>
void gemm(const RowTiles& x, const PackedView& w, const Epilogue& epilogue, const Out& y) {
  if (x.rows == 0 || w.cols == 0) return;
  const TileKernel& kernel = kernel_of<Arch>(w);
  assert(x.most_rows == kernel.most_rows && (epilogue.factors.rank == 0 || kernel.rows == RowFormat::float32));
  if constexpr (Out::is_padded) assert(y.tiles.most_rows == x.most_rows);
  const Index units = ceil_div(w.rows, rows_per_unit(w.format));
  if (detail::chunks_pay(kernel) && units >= detail::chunked_from)
    return detail::multiply_in_chunks<Arch>(x, w, epilogue, y);
  const TileList tiles = x.tiles();
  const detail::KernelState state(kernel, tiles[tiles.count() - 1].rows);
  TileCall call;
  call.panel = w.panel, call.units = units;
  const Index step = std::min(kernel.columns, w.panel);
  const Index lines_of_x = ceil_div(units, kernel.units_of_line());
  for (Index first = 0; first < w.cols; first += step) {
    call.weights = w.column_data(first);
    if (tiles.count() >= detail::asked_for_tiles)
      call.ahead = detail::ahead_of(w, first + step, lines_of_x * tiles.count());
    const Index valid = std::min({kernel.columns, w.panel, w.cols - first});
    call.columns = round_up(valid, kernel.lanes);
    const detail::ColumnGroup group{first, valid, call.columns};
    for (Index number = 0, count = 1; number < tiles.count(); number += count) {
      if (kernel.sums_only) {
        count = kernel.multiply_two && number + 1 < tiles.count() ? 2 : 1;
        const RowTile pair[2] = {tiles[number], tiles[number + count - 1]};
        detail::multiply_by_sums<Arch>(pair, count, w, call, group, epilogue, y);
      } else {
        count = call.tiles = detail::goes_straight<Out>(group, epilogue) ? tiles.alike(number) : 1;
        detail::multiply_tile_to<Arch>(*kernel.multiply, tiles[number], call, group, epilogue, y);
      }
      call.ahead.skip(count * lines_of_x);
    }
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
