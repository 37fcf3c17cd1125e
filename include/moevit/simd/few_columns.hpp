/// Products with too few columns to fill registers with: lanes go along the rows of x instead.
#pragma once

#include <moevit/simd/row_tiles.hpp>
#include <moevit/simd/rows.hpp>
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
template <class Arch, int rows, int count, class Load, class LoadFactor>
MOEVIT_ALWAYS_INLINE void add_few(Load load, LoadFactor load_factor, const float* column, Index stride,
                                  Batch<Arch> (&sum)[rows][count]) {
  Batch<Arch> value[rows];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) value[r] = load(r);
#pragma GCC unroll 4
  for (int c = 0; c < count; ++c) {
    const Batch<Arch> factor = load_factor(column + c * stride);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) sum[r][c] = fma<Arch>(value[r], factor, sum[r][c]);
  }
}

/// Rows of floats: line `l` of row `r` lies at data + r * row_step + l * line_step bytes.
struct LinedRows {
  const std::byte* data = nullptr;
  Index row_step = 0;
  Index line_step = 0;
};

/// `rows` rows of `width` floats each times `count` columns, which lie `width` floats apart. Sums run over lines in
/// rising order, so an output depends on its row and its column only. What lies behind the width is not read: a product
/// that wrote a tile leaves whatever was there.
template <class Arch, int rows, int count>
void multiply_few(LinedRows x, Index width, const float* columns, float* y, Index y_stride) {
  using B = Batch<Arch>;
  B sum[rows][count];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) sum[r][c] = B(0.f);
  const auto at = [&](int r, Index i) { return reinterpret_cast<const float*>(x.data + r * x.row_step) + i; };
  Index first = 0;
  for (; first + line_bytes / 4 <= width; first += line_bytes / 4, x.data += x.line_step)
#pragma GCC unroll 4
    for (Index i = 0; i < line_bytes / 4; i += lanes<Arch>)
      add_few<Arch, rows, count>([&](int r) { return B::load_unaligned(at(r, i)); },
                                 [](const float* factor) { return B::load_unaligned(factor); }, columns + first + i,
                                 width, sum);
  for (Index i = 0; first + i < width; i += lanes<Arch>)
    add_few<Arch, rows, count>([&](int r) { return load_valid<Arch>(at(r, i), width - first - i); },
                               [&](const float* factor) { return load_valid<Arch>(factor, width - first - i); },
                               columns + first + i, width, sum);
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < count; ++c) y[r * y_stride + c] = reduce_add<Arch>(sum[r][c]);
}

using MultiplyFew = void (*)(LinedRows, Index, const float*, float*, Index);

/// multiply_few for 1, 2, ... rows and columns, columns fastest.
template <class Arch>
inline constexpr auto few_products = []<int... i>(std::integer_sequence<int, i...>) {
  return std::array<MultiplyFew, sizeof...(i)>{&multiply_few<Arch, i / few_columns + 1, i % few_columns + 1>...};
}
(std::make_integer_sequence<int, few_rows<Arch> * few_columns>{});

/// y[rows x count] = x W, the rows of x one group after the other.
template <class Arch>
void multiply_lined_rows(LinedRows x, Index rows, Index width, const float* columns, Index count, float* y,
                         Index y_stride) {
  for (Index height; rows > 0; rows -= height, x.data += height * x.row_step, y += height * y_stride) {
    height = std::min<Index>(few_rows<Arch>, rows);
    for (Index col = 0; col < count; col += few_columns) {
      const Index number = (height - 1) * few_columns + std::min<Index>(few_columns, count - col) - 1;
      few_products<Arch>[static_cast<std::size_t>(number)](x, width, columns + col * width, y + col, y_stride);
    }
  }
}

}  // namespace detail

/// y[x.rows x count] = x W, with x in tiles of floats, whatever they have behind their width, and W column by column,
/// x.width floats each.
template <class Arch = DefaultArch>
void multiply_columns(const RowTiles& x, const float* columns, Index count, float* y) {
  const TileList tiles = x.tiles();
  for (Index number = 0; number < tiles.count(); ++number) {
    const RowTile tile = tiles[number];
    detail::multiply_lined_rows<Arch>({tile.data, line_bytes, tile.line_step}, tile.rows, x.width, columns, count,
                                      y + tile.first_row * count, count);
  }
}

/// Rows of floats where they lie.
struct FloatRows {
  const float* data = nullptr;
  Index rows = 0;
  Index width = 0;
  Index stride = 0;  ///< floats from row to row
};

/// multiply_columns() of rows that are not tiled. y: rows `y_stride` floats apart.
template <class Arch = DefaultArch>
void multiply_columns_of_rows(const FloatRows& x, const float* columns, Index count, float* y, Index y_stride) {
  // Rows are asked for some groups ahead: they come from far away, and each is used up quickly.
  constexpr Index group = 4, ahead = 8;
  for (Index row = 0; row < x.rows; row += group) {
    const Index own = std::min(group, x.rows - row);
    for (Index next = row + ahead; next < std::min(row + ahead + own, x.rows); ++next)
      prefetch_row(x.data + next * x.stride, x.width);
    detail::multiply_lined_rows<Arch>(
        {reinterpret_cast<const std::byte*>(x.data + row * x.stride), x.stride * 4, line_bytes}, own, x.width, columns,
        count, y + row * y_stride, y_stride);
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
