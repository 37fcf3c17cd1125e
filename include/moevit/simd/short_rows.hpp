/// Rows too short to fill registers, worked on side by side: one row per lane, so that a batch holds a column of them.
#pragma once

#include <moevit/simd/transpose.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Columns that a tile of short rows has room for: 4 KiB with 16 lanes, a small part of the L1 cache.
inline constexpr Index tile_columns = 64;

/// tile[col * lanes + r] = row(r)[first + col] for `count` <= tile_columns columns and the first `rows` <= lanes rows,
/// rows >= 1; the lanes behind them repeat the last row. `row(r)` gives a pointer. Nothing beyond the columns is read.
template <class Arch, class Row>
void load_columns(Row row, Index rows, Index first, Index count, float* tile) {
  const Index whole = count / 4 * 4;
  for (Index r = 0; r < lanes<Arch>; r += 4) {
    std::array<const float*, 4> from;
    for (Index i = 0; i < 4; ++i) from[static_cast<std::size_t>(i)] = row(std::min(r + i, rows - 1)) + first;
    for (Index col = 0; col < whole; col += 4) {
      detail::transpose_quad(from, [&](Index i) { return tile + (col + i) * lanes<Arch> + r; });
      for (const float*& source : from) source += 4;
    }
    for (Index col = whole; col < count; ++col)
      for (std::size_t i = 0; i < 4; ++i) tile[col * lanes<Arch> + r + static_cast<Index>(i)] = from[i][col - whole];
  }
}

/// The way back: row(r)[col] = tile[col * lanes + r] for the first `rows` rows. Nothing beyond the columns is written.
template <class Arch, class Row>
void store_columns(const float* tile, Index count, Index rows, Row row) {
  const Index whole_rows = rows / 4 * 4, whole = count / 4 * 4;
  for (Index r = 0; r < whole_rows; r += 4)
    for (Index col = 0; col < whole; col += 4) {
      const float* from = tile + col * lanes<Arch> + r;
      detail::transpose_quad({from, from + lanes<Arch>, from + 2 * lanes<Arch>, from + 3 * lanes<Arch>},
                             [&](Index i) { return row(r + i) + col; });
    }
  for (Index r = 0; r < rows; ++r)
    for (Index col = r < whole_rows ? whole : 0; col < count; ++col) row(r)[col] = tile[col * lanes<Arch> + r];
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
