/// y = epilogue(x W) with x in tiles of rows and W in panels.
///
/// How it works: the outer loop goes over groups of columns of W, the inner one over the tiles of x, so weights are
/// fetched once and stay in a near cache while all rows pass them. The microkernel of the weights (tile_kernel.hpp)
/// sums one tile in registers; the epilogue (epilogue.hpp) takes it to y. Where K is very large, a chunk of it is
/// worked off after the other for some groups together, and the sums wait in memory between chunks: a chain of
/// multiply-adds that goes on from memory has the same bits.
#pragma once

#include <moevit/simd/convert_rows.hpp>
#include <moevit/simd/dequantise.hpp>
#include <moevit/simd/epilogue.hpp>
#include <moevit/simd/tile_kernel.hpp>

#include <cassert>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Tiles for `rows` rows that are to be multiplied with `w`; `room` has rows * tiled_row_bytes(w.rows) bytes on a cache
/// line. The elements are not set.
template <class Arch = DefaultArch>
RowTiles empty_tiles(Index rows, const PackedView& w, std::byte* room) {
  const TileKernel& kernel = kernel_of<Arch>(w);
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

/// Fills tiles row by row, in their format: row_of(row) points to its floats, valid until the next call.
template <class Arch = DefaultArch, class RowOf>
void fill_tiles(const RowTiles& tiles, RowOf row_of) {
  const TileList list = tiles.tiles();
  for (Index number = 0; number < list.count(); ++number) {
    const RowTile tile = list[number];
    for (Index row = 0; row < tile.rows; ++row) {
      const float* x = row_of(tile.first_row + row);
      if (tiles.format == RowFormat::float32)
        put_row<Arch>(x, tiles.width, tile, row);
      else
        detail::put_reduced_row<Arch>({.data = reinterpret_cast<const std::byte*>(x)}, tiles, tile, row);
    }
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

/// The part of a product's columns that one call of a kernel computes.
struct ColumnGroup {
  Index first = 0;
  Index valid = 0;    ///< columns that the matrix has
  Index columns = 0;  ///< columns that are computed: whole registers
};

/// Whether the kernel itself can do all of an epilogue and all columns of a group exist, so that tiles go straight to
/// y.
template <class Out>
bool goes_straight(const ColumnGroup& group, const Epilogue& epilogue) {
  return (Out::is_padded || group.valid == group.columns) && !epilogue.activation && !epilogue.scale &&
         !epilogue.added && !(epilogue.row_scale && epilogue.residual);
}

/// call.tiles tiles of one height, the first of which is `tile`, by multiply(TileCall): straight to y, or else one by
/// way of a tile of sums in the L1 cache.
template <class Arch, class Multiply, class Out>
void multiply_tile_to(Multiply&& multiply, const RowTile& tile, TileCall call, const ColumnGroup& group,
                      const Epilogue& epilogue, const Out& y) {
  const Index first_row = tile.first_row;
  assert(call.tiles == 1 || goes_straight<Out>(group, epilogue));
  call.x = tile.data, call.x_line = tile.line_step, call.rows = tile.rows;
  if (epilogue.bias) call.bias = epilogue.bias + group.first;
  if (goes_straight<Out>(group, epilogue)) {
    const RowWriter target = y.writer(first_row, call.rows, group.first);
    call.out = target.data, call.out_stride = target.step, call.out_line = y.line(call.rows);
    call.x_step = tile.step(), call.out_step = y.tile_step(call.rows);
    if (epilogue.row_scale) call.row_scale = epilogue.row_scale + first_row;
    if (epilogue.residual)
      call.residual = epilogue.residual + first_row * epilogue.residual_stride + group.first,
      call.residual_stride = epilogue.residual_stride;
    return multiply(call);
  }
  alignas(cache_line_bytes) float sums[16 * 32];
  call.out = sums, call.out_stride = group.columns;
  if (epilogue.added)
    call.residual = epilogue.added + first_row * epilogue.added_stride + group.first,
    call.residual_stride = epilogue.added_stride;
  multiply(call);
  finish_tile<Arch>(sums, {first_row, tile.rows, group.first, group.valid, group.columns}, epilogue, y);
}

/// One tile of x, or two, with a kernel that gives sums only.
template <class Arch, class Out>
void multiply_by_sums(const RowTile* tiles, Index count, const PackedView& w, const TileCall& call,
                      const ColumnGroup& group, const Epilogue& epilogue, const Out& y) {
  alignas(cache_line_bytes) float sums[2][16 * 32];
  TileCall calls[2] = {call, call};
  for (Index i = 0; i < count; ++i) {
    calls[i].x = tiles[i].data, calls[i].x_line = tiles[i].line_step, calls[i].rows = tiles[i].rows;
    calls[i].out = sums[i], calls[i].out_stride = group.columns;
  }
  if (count == 2)
    w.kernel->multiply_two(calls[0], calls[1]);
  else
    w.kernel->multiply(calls[0]);
  for (Index i = 0; i < count; ++i) {
    const RowTile& tile = tiles[i];
    if (w.format == WeightFormat::int8) dequantise_tile<Arch>(sums[i], tile, group.columns, w, group.first);
    if (epilogue.bias) add_bias<Arch>(sums[i], tile.rows, group.columns, epilogue.bias + group.first);
    finish_tile<Arch>(sums[i], {tile.first_row, tile.rows, group.first, group.valid, group.columns}, epilogue, y);
  }
}

/// Units of a column from which chunks pay. On a core with AVX2, a product in one go took 0.8 to 1.0 of the time at 768
/// to 2304 units, and 1.1 to 1.4 at 3072 (bench/gemm.cpp).
inline constexpr Index chunked_from = 2560;
/// Units of a column in a chunk: those of a group take a third of an L1 cache with AVX2 and two thirds with AVX-512,
/// and those of 112 rows of x 84 KB of the L2 cache.
inline constexpr Index chunk_units = 192;
/// Most rows of x and most columns whose sums wait together: 32 KB.
inline constexpr Index chunked_rows = 128, chunked_columns = 64;

/// A product with a kernel that goes on from sums, for some tiles of x.
template <class Arch, class Out>
class ChunkedProduct {
 public:
  ChunkedProduct(const RowTiles& x, const PackedView& w, const Epilogue& epilogue, const Out& y)
      : tiles_(x.tiles()),
        w_(w),
        kernel_(kernel_of<Arch>(w)),
        epilogue_(epilogue),
        y_(y),
        units_(ceil_div(w.rows, rows_per_unit(w.format))),
        step_(std::min(kernel_.columns, w.panel)) {}

  void run() {
    const Index most = chunked_rows / kernel_.most_rows;
    for (first_ = 0; first_ < tiles_.count(); first_ = last_) {
      last_ = std::min(first_ + most, tiles_.count());
      for (Index col = 0; col < w_.cols; col += chunked_columns)
        for (Index unit = 0; unit < units_; unit += chunk_units)
          for (Index own = col; own < std::min(col + chunked_columns, w_.cols); own += step_) multiply(col, own, unit);
    }
  }

 private:
  Index units_from(Index unit) const { return std::min(chunk_units, units_ - unit); }
  const std::byte* weights_at(Index col, Index unit) const {
    return w_.panel_data(col / w_.panel) + (unit * w_.panel + col % w_.panel) * 4;
  }

  /// Asks for the chunk that comes behind one of a group, spread evenly over what is left to do.
  Ahead ahead_of(Index block, Index col, Index unit, Index lines_of_x) const {
    Index next = col + step_;
    if (next >= std::min(block + chunked_columns, w_.cols)) {
      if (unit + chunk_units < units_)
        next = block, unit += chunk_units;
      else
        unit = 0;
    }
    if (next >= w_.cols) return {};
    const Index step = w_.panel * 4, half = ceil_div(units_from(unit), Index{2});
    const std::byte* weights = weights_at(next, unit);
    return {{weights, weights + half * step}, step, ceil_div(half, lines_of_x * (last_ - first_))};
  }

  /// The tiles times one chunk of a group of columns, which is one of those from `block` on.
  void multiply(Index block, Index col, Index unit) {
    const Index valid = std::min(step_, w_.cols - col), columns = round_up(valid, kernel_.lanes);
    const ColumnGroup group{col, valid, columns};
    const Index unit_rows = rows_per_unit(w_.format), base = tiles_[first_].first_row;
    TileCall call;
    call.weights = weights_at(col, unit), call.panel = w_.panel, call.units = units_from(unit), call.columns = columns;
    const Index lines_of_x = ceil_div(call.units * unit_rows, 16);
    call.ahead = ahead_of(block, col, unit, lines_of_x);
    const Index asked = call.ahead.lines * lines_of_x * call.ahead.step;
    for (Index number = first_; number < last_; ++number) {
      RowTile tile = tiles_[number];
      tile.data += unit * unit_rows / 16 * tile.line_step;
      float* const sums = sums_ + (col - block) * chunked_rows + (tile.first_row - base) * columns;
      if (unit > 0) call.start = sums;
      if (unit + chunk_units >= units_) {
        multiply_tile_to<Arch>(*kernel_.multiply, tile, call, group, epilogue_, y_);
      } else {
        call.x = tile.data, call.x_line = tile.line_step, call.rows = tile.rows;
        call.out = sums, call.out_stride = columns;
        kernel_.multiply(call);
      }
      for (const std::byte*& next : call.ahead.first) next += asked;
    }
  }

  TileList tiles_;
  const PackedView& w_;
  const TileKernel& kernel_;
  const Epilogue& epilogue_;
  const Out& y_;
  Index units_;                 ///< of a column
  Index step_;                  ///< columns of a group
  Index first_ = 0, last_ = 0;  ///< tiles that are worked off together
  alignas(cache_line_bytes) float sums_[chunked_rows * chunked_columns];
};

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
  assert(x.most_rows == kernel.most_rows && !(epilogue.added && (epilogue.row_scale || kernel.sums_only)));
  if constexpr (Out::is_padded) assert(y.tiles.most_rows == x.most_rows);
  if (kernel.goes_on && ceil_div(w.rows, rows_per_unit(w.format)) >= detail::chunked_from)
    return detail::ChunkedProduct<Arch, Out>(x, w, epilogue, y).run();
  const TileList tiles = x.tiles();
  const detail::KernelState state(kernel, tiles[tiles.count() - 1].rows);
  TileCall call;
  call.panel = w.panel, call.units = ceil_div(w.rows, rows_per_unit(w.format));
  for (Index first = 0; first < w.cols; first += std::min(kernel.columns, w.panel)) {
    call.weights = w.panel_data(first / w.panel) + first % w.panel * 4;
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
    }
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
