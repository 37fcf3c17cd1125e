/// y = epilogue(x W) with x in tiles of rows and W in panels.
///
/// How it works: the outer loop goes over the panels of W, the inner one over the tiles of x, so a panel is fetched
/// once and stays in a near cache while all rows pass it. The microkernel of the weights (tile_kernel.hpp) sums one
/// tile in registers; the epilogue (epilogue.hpp) takes it to y.
#pragma once

#include <moevit/simd/epilogue.hpp>
#include <moevit/simd/tile_kernel.hpp>

namespace moevit::simd {

/// Tiles for `rows` rows that are to be multiplied with `w`; `room` has rows * tiled_row_bytes(w.rows) bytes on a cache
/// line. The elements are not set.
template <class Arch = DefaultArch>
RowTiles empty_tiles(Index rows, const PackedView& w, std::byte* room) {
  const TileKernel& kernel = w.kernel ? *w.kernel : float_kernel<Arch>;
  return {.data = room,
          .rows = rows,
          .width = w.rows,
          .row_bytes = tiled_row_bytes(w.rows),
          .most_rows = kernel.most_rows,
          .format = kernel.rows};
}

namespace detail {

/// Copies 16 floats; `target` lies on a cache line.
template <class Arch>
void copy_line(const float* source, float* target) {
#pragma GCC unroll 4
  for (Index i = 0; i < 16; i += lanes<Arch>) Batch<Arch>::load_unaligned(source + i).store_aligned(target + i);
}

}  // namespace detail

/// Copies row `row` of a tile's rows, `height` of them, into the tile; what its last line has beyond the width is zero.
template <class Arch = DefaultArch>
void put_row(const float* x, Index width, std::byte* tile, Index height, Index row) {
  float* target = reinterpret_cast<float*>(tile + row * line_bytes);
  const Index line = height * line_bytes / 4, whole = width / 16 * 16;
  for (Index first = 0; first < whole; first += 16, target += line) detail::copy_line<Arch>(x + first, target);
  if (whole < width) {
    std::copy(x + whole, x + width, target);
    std::fill(target + (width - whole), target + 16, 0.f);
  }
}

/// Fills tiles row by row: row_of(row) points to its floats, valid until the next call.
template <class Arch = DefaultArch, class RowOf>
void fill_tiles(const RowTiles& tiles, RowOf row_of) {
  for (Index tile = 0; tile < tiles.tiles(); ++tile) {
    const Index first = tiles.first_row(tile), height = tiles.height(tile);
    for (Index row = 0; row < height; ++row)
      put_row<Arch>(row_of(first + row), tiles.width, tiles.tile_data(tile), height, row);
  }
}

/// The rows of x (rows x w.rows, `stride` floats apart) as tiles to be multiplied with w.
template <class Arch = DefaultArch>
RowTiles tile_rows(Index rows, const float* x, Index stride, const PackedView& w, std::byte* room) {
  const RowTiles tiles = empty_tiles<Arch>(rows, w, room);
  fill_tiles<Arch>(tiles, [&](Index row) { return x + row * stride; });
  return tiles;
}

namespace detail {

/// The part of a product's columns that one call of a kernel computes.
struct ColumnGroup {
  Index first = 0;
  Index valid = 0;    ///< columns that the matrix has
  Index columns = 0;  ///< columns that are computed: whole registers
};

/// One tile: straight to y where the kernel can do all of the epilogue and all columns exist, else by way of a tile of
/// sums in the L1 cache.
template <class Arch, class Out>
void multiply_tile_to(const TileKernel& kernel, TileCall call, const ColumnGroup& group, Index first_row,
                      const Epilogue& epilogue, const Out& y) {
  const TilePlace place{first_row, call.rows, group.first, group.valid, group.columns};
  if (epilogue.bias) call.bias = epilogue.bias + group.first;
  const bool whole = Out::is_padded || group.valid == group.columns;
  if (whole && !epilogue.activation && !epilogue.scale) {
    const RowWriter target = y.writer(first_row, call.rows, group.first);
    call.out = target.data, call.out_stride = target.step, call.out_line = y.line(call.rows);
    if (epilogue.row_scale) call.row_scale = epilogue.row_scale + first_row;
    if (epilogue.residual)
      call.residual = epilogue.residual + first_row * epilogue.residual_stride + group.first,
      call.residual_stride = epilogue.residual_stride;
    for (Index row = 0; row < call.rows; ++row)
      for (Index col = 0; col < call.columns; col += 16)
        __builtin_prefetch(call.out + row * call.out_stride + col / 16 * call.out_line, 1);
    return kernel.multiply(call);
  }
  alignas(cache_line_bytes) float sums[16 * 32];
  call.out = sums, call.out_stride = group.columns;
  kernel.multiply(call);
  finish_tile<Arch>(sums, place, epilogue, y);
}

}  // namespace detail

/// y[x.rows x w.cols] = epilogue(x W). x was tiled for w; y (RowsOut or TilesOut) must not overlap x; the epilogue's
/// residual may be y.
template <class Arch = DefaultArch, class Out>
void gemm(const RowTiles& x, const PackedView& w, const Epilogue& epilogue, const Out& y) {
  if (x.rows == 0 || w.cols == 0) return;
  const TileKernel& kernel = w.kernel ? *w.kernel : float_kernel<Arch>;
  const Index tiles = x.tiles();
  TileCall call;
  call.panel = w.panel, call.units = ceil_div(w.rows, rows_per_unit(w.format));
  for (Index first = 0; first < w.cols; first += std::min(kernel.columns, w.panel)) {
    call.weights = w.panel_data(first / w.panel) + first % w.panel * 4;
    const Index valid = std::min({kernel.columns, w.panel, w.cols - first});
    call.columns = round_up(valid, kernel.lanes);
    for (Index tile = 0; tile < tiles; ++tile) {
      call.x = x.tile_data(tile), call.rows = x.height(tile);
      detail::multiply_tile_to<Arch>(kernel, call, {first, valid, call.columns}, x.first_row(tile), epilogue, y);
    }
  }
}

}  // namespace moevit::simd
