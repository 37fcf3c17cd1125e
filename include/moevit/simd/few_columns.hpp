/// Products with too few columns to fill registers with: lanes go along the rows of x instead.
#pragma once

#include <moevit/simd/row_tiles.hpp>
#include <moevit/simd/simd.hpp>

#include <array>
#include <utility>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// Rows and columns that are multiplied at once: with 32 registers 8 of them are loaded for 16 multiply-adds.
template <class Arch>
inline constexpr int few_rows = register_count<Arch> == 32 ? 4 : 2;
inline constexpr int few_columns = 4;

/// The registers of some rows at some place times those of some columns, added to `sum`.
template <class Arch, int rows, int count, class Load>
MOEVIT_ALWAYS_INLINE void add_few(Load load, const float* column, Index stride, Batch<Arch> (&sum)[rows][count]) {
  Batch<Arch> value[rows];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) value[r] = load(r);
#pragma GCC unroll 4
  for (int c = 0; c < count; ++c) {
    const Batch<Arch> factor = Batch<Arch>::load_aligned(column + c * stride);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) sum[r][c] = fma<Arch>(value[r], factor, sum[r][c]);
  }
}

/// `rows` rows of a tile from `row` on, `width` floats each, times `count` columns, which lie `stride` floats apart.
/// Sums run over lines in rising order, so an output depends on its row and its column only. What lies behind the width
/// is not read: a product that wrote the tile leaves whatever was there.
template <class Arch, int rows, int count>
void multiply_few(const RowTile& tile, Index row, Index width, const float* columns, Index stride, float* y,
                  Index y_stride) {
  using B = Batch<Arch>;
  B sum[rows][count];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) sum[r][c] = B(0.f);
  const std::byte* x = tile.row_data(row);
  const auto at = [&](int r, Index i) { return reinterpret_cast<const float*>(x + r * line_bytes) + i; };
  Index first = 0;
  for (; first + line_bytes / 4 <= width; first += line_bytes / 4, x += tile.line_step)
#pragma GCC unroll 4
    for (Index i = 0; i < line_bytes / 4; i += lanes<Arch>)
      add_few<Arch, rows, count>([&](int r) { return B::load_aligned(at(r, i)); }, columns + first + i, stride, sum);
  for (Index i = 0; first + i < width; i += lanes<Arch>)
    add_few<Arch, rows, count>([&](int r) { return load_valid<Arch>(at(r, i), width - first - i); },
                               columns + first + i, stride, sum);
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) y[r * y_stride + c] = reduce_add<Arch>(sum[r][c]);
}

using MultiplyFew = void (*)(const RowTile&, Index, Index, const float*, Index, float*, Index);

/// multiply_few for 1, 2, ... rows and columns, columns fastest.
template <class Arch>
inline constexpr auto few_products = []<int... i>(std::integer_sequence<int, i...>) {
  return std::array<MultiplyFew, sizeof...(i)>{&multiply_few<Arch, i / few_columns + 1, i % few_columns + 1>...};
}
(std::make_integer_sequence<int, few_rows<Arch> * few_columns>{});

}  // namespace detail

/// y[x.rows x count] = x W, with x in tiles of floats, whatever they have behind their width, and W column by column:
/// each in round_up(x.width, 16) floats, zero behind the width, on a cache line.
template <class Arch = DefaultArch>
void multiply_columns(const RowTiles& x, const float* columns, Index count, float* y) {
  const Index stride = round_up(x.width, line_bytes / 4);
  const TileList tiles = x.tiles();
  for (Index number = 0; number < tiles.count(); ++number) {
    const RowTile tile = tiles[number];
    for (Index col = 0; col < count; col += detail::few_columns)
      for (Index row = 0; row < tile.rows; row += detail::few_rows<Arch>) {
        const Index rows = std::min<Index>(detail::few_rows<Arch>, tile.rows - row),
                    cols = std::min<Index>(detail::few_columns, count - col);
        detail::few_products<Arch>[static_cast<std::size_t>((rows - 1) * detail::few_columns + cols - 1)](
            tile, row, x.width, columns + col * stride, stride, y + (tile.first_row + row) * count + col, count);
      }
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
