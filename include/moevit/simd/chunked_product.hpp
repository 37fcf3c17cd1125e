/// Products with a very large K: a chunk of it is worked off after the other, and the sums wait in memory between
/// chunks. A chain of multiply-adds that goes on from memory has the same bits.
#pragma once

#include <moevit/simd/product_tiles.hpp>

#include <algorithm>
#include <cassert>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// Units of a column from which chunks pay, where there are few registers and weights are read for few rows each time.
/// On a core with AVX2, a product in one go took 0.8 to 1.0 of the time at 768 to 2304 units, and 1.1 to 1.4 at 3072
/// (bench/gemm.cpp); with AVX-512, whose tiles are more than twice as high, 0.92 to 1.0 of it from 3072 to 12288.
inline constexpr Index chunked_from = 2560;
inline bool chunks_pay(const TileKernel& kernel) { return kernel.goes_on && kernel.most_rows <= 8; }
/// Units of a column in a chunk: those of a group take a third of an L1 cache with AVX2, and those of 112 rows of x
/// 84 KB of the L2 cache.
inline constexpr Index chunk_units = 192;
/// Most rows of x and most columns whose sums wait together: 32 KB.
inline constexpr Index chunked_rows = 128, chunked_columns = 64;

/// Units [unit, unit + count) of the columns of a product's weights.
struct UnitRange {
  Index unit = 0;
  Index count = 0;
};

/// A product with a kernel that goes on from sums.
template <class Arch, class Out>
class ChunkedProduct {
 public:
  ChunkedProduct(const PackedView& w, const Epilogue& epilogue, const Out& y)
      : w_(w),
        kernel_(kernel_of<Arch>(w)),
        epilogue_(epilogue),
        y_(y),
        unit_rows_(rows_per_unit(w.format)),
        units_(ceil_div(w.rows, unit_rows_)),
        step_(std::min(kernel_.columns, w.panel)) {}

  const TileKernel& kernel() const { return kernel_; }
  Index unit_rows() const { return unit_rows_; }
  Index units() const { return units_; }  ///< of a column
  Index step() const { return step_; }    ///< columns of a group

  /// Tiles [first, last) of x, from unit `x_unit` of their rows on, times a chunk of the columns from `col` on. The
  /// sums of a tile (rows x columns) wait at `sums`, as many rows after those of tile `first` as it lies behind it; the
  /// last chunk goes to y. Meanwhile the chunk `next` of the columns from `next_col` on is asked for; a count of 0:
  /// nothing.
  void multiply(const TileList& tiles, Index first, Index last, Index x_unit, Index col, UnitRange chunk, float* sums,
                Index next_col, UnitRange next) const {
    const Index valid = std::min(step_, w_.cols - col), columns = round_up(valid, kernel_.lanes);
    const Index base = tiles[first].first_row, lines_of_x = ceil_div(chunk.count, kernel_.units_of_line());
    TileCall call;
    call.weights = weights_at(col, chunk.unit), call.panel = w_.panel, call.units = chunk.count, call.columns = columns;
    if (next.count > 0)
      call.ahead = Ahead::over(weights_at(next_col, next.unit), next.count * w_.panel * 4, lines_of_x * (last - first));
    for (Index number = first; number < last; ++number) {
      RowTile tile = tiles[number];
      tile.data += x_unit / kernel_.units_of_line() * tile.line_step;
      float* const own = sums + (tile.first_row - base) * columns;
      if (chunk.unit > 0) call.start = own;
      if (chunk.unit + chunk.count >= units_) {
        multiply_tile_to<Arch>(*kernel_.multiply, tile, call, {col, valid, columns}, epilogue_, y_);
      } else {
        call.x = tile.data, call.x_line = tile.line_step, call.rows = tile.rows;
        call.out = own, call.out_stride = columns;
        kernel_.multiply(call);
      }
      call.ahead.skip(lines_of_x);
    }
  }

 private:
  const std::byte* weights_at(Index col, Index unit) const { return w_.column_data(col) + unit * w_.panel * 4; }

  const PackedView& w_;
  const TileKernel& kernel_;
  const Epilogue& epilogue_;
  const Out& y_;
  Index unit_rows_, units_, step_;
};

/// All of x lies in tiles: for some tiles and some groups of columns one chunk follows the other, so that the sums stay
/// in the L1 cache.
template <class Arch, class Out>
void multiply_in_chunks(const RowTiles& x, const PackedView& w, const Epilogue& epilogue, const Out& y) {
  alignas(cache_line_bytes) float sums[chunked_rows * chunked_columns];
  const ChunkedProduct<Arch, Out> product(w, epilogue, y);
  const TileList tiles = x.tiles();
  const Index most = chunked_rows / product.kernel().most_rows, step = product.step();
  const auto chunk_from = [&](Index unit) { return UnitRange{unit, std::min(chunk_units, product.units() - unit)}; };
  for (Index first = 0; first < tiles.count(); first += most)
    for (Index block = 0; block < w.cols; block += chunked_columns) {
      const Index end = std::min(block + chunked_columns, w.cols);
      for (Index unit = 0; unit < product.units(); unit += chunk_units)
        for (Index col = block; col < end; col += step) {
          Index next = col + step, next_unit = unit;
          if (next >= end) {
            const bool is_last = unit + chunk_units >= product.units();
            if (!is_last) next = block;
            next_unit = is_last ? 0 : unit + chunk_units;
          }
          product.multiply(tiles, first, std::min(first + most, tiles.count()), unit, col, chunk_from(unit),
                           sums + (col - block) * chunked_rows, next,
                           next < w.cols ? chunk_from(next_unit) : UnitRange());
        }
    }
}

}  // namespace detail

/// Floats that the sums of `rows` rows wait in between two chunks of a product with `columns` columns.
constexpr Index waiting_sums(Index rows, Index columns) { return rows * round_up(columns, Index{32}); }

/// Whether a product with w may be computed in chunks of its K.
template <class Arch = DefaultArch>
bool goes_on(const PackedView& w) {
  return kernel_of<Arch>(w).goes_on;
}

/// As gemm() for a product whose rows come in chunks: `x` has their columns [first, first + x.width), which are tiled
/// for w, a multiple of four but in the last chunk. Chunks follow each other in rising order, each with all rows;
/// `sums`, waiting_sums(x.rows, w.cols) floats on a cache line, is kept between them. The last chunk assigns y.
template <class Arch = DefaultArch, class Out>
void gemm_chunk(const RowTiles& x, Index first, const PackedView& w, float* sums, const Epilogue& epilogue,
                const Out& y) {
  if (x.rows == 0 || w.cols == 0) return;
  const detail::ChunkedProduct<Arch, Out> product(w, epilogue, y);
  assert(epilogue.factors.rank == 0 || product.kernel().rows == RowFormat::float32);
  assert(product.kernel().goes_on && (x.width % 4 == 0 || first + x.width == w.rows));
  const TileList tiles = x.tiles();
  const detail::UnitRange chunk{first / product.unit_rows(), ceil_div(x.width, product.unit_rows())};
  const Index end = chunk.unit + chunk.count;
  const detail::UnitRange behind{end, std::min(chunk.count, product.units() - end)};
  for (Index col = 0; col < w.cols; col += product.step()) {
    const bool is_last = col + product.step() >= w.cols;
    product.multiply(tiles, 0, tiles.count(), 0, col, chunk, sums + col * x.rows, is_last ? 0 : col + product.step(),
                     is_last ? behind : chunk);
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
