/// Products with a very large K: a chunk of it is worked off after the other for some groups of columns together, and
/// the sums wait in memory between chunks. A chain of multiply-adds that goes on from memory has the same bits.
#pragma once

#include <moevit/simd/product_tiles.hpp>

#include <algorithm>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

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
    return w_.column_data(col) + unit * w_.panel * 4;
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

}  // namespace detail

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
