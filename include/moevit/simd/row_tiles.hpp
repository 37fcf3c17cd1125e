/// The left operand of a product: rows in tiles, as the microkernels read them.
///
/// A row is cut into lines of 64 bytes (16 floats, 32 bfloat16 or 64 int8 numbers). A tile of h rows holds the first
/// lines of all its rows, then the second lines, and so on, so that a kernel for h rows reaches every element at a
/// fixed distance from one moving pointer, and no two rows compete for a set of the L1 cache whatever the width is.
#pragma once

#include <moevit/simd/packed.hpp>

#include <cstddef>

namespace moevit::simd {

/// What the elements of tiled rows are. int8 numbers are stored with 128 added, as unsigned bytes.
enum class RowFormat : unsigned char { float32, bfloat16, int8 };

constexpr Index line_bytes = 64;

/// Bytes that a row of `width` elements takes in any format.
constexpr Index tiled_row_bytes(Index width) { return round_up(width * 4, line_bytes); }

/// `rows` rows of `width` elements in tiles of nearly equal height (197 rows are 15 tiles of 13 and 14, not 14 and a
/// rest of 1), at most `most_rows` each.
struct RowTiles {
  std::byte* data = nullptr;  ///< rows * row_bytes bytes on a cache line
  Index rows = 0;
  Index width = 0;
  Index row_bytes = 0;  ///< at least what the lines of a row take
  Index most_rows = 1;
  RowFormat format = RowFormat::float32;
  float* scales = nullptr;  ///< int8: one per row, x = scale * (element - 128)

  Index tiles() const { return ceil_div(rows, most_rows); }
  Index first_row(Index tile) const { return rows * tile / tiles(); }
  Index height(Index tile) const { return first_row(tile + 1) - first_row(tile); }
  Index tile_of(Index row) const { return ((row + 1) * tiles() - 1) / rows; }
  std::byte* tile_data(Index tile) const { return data + first_row(tile) * row_bytes; }
  /// The first line of a row; the next one is height(tile_of(row)) * line_bytes further on.
  std::byte* row_data(Index row) const {
    const Index tile = tile_of(row);
    return tile_data(tile) + (row - first_row(tile)) * line_bytes;
  }
};

}  // namespace moevit::simd
