/// The left operand of a product: rows in tiles, as the microkernels read them.
///
/// A row is cut into lines of 64 bytes (16 floats, 32 bfloat16 or 64 int8 numbers). A tile of h rows holds the first
/// lines of all its rows, then the second lines, and so on, so that a kernel for h rows reaches every element at a
/// fixed distance from one moving pointer, and no two rows compete for a set of the L1 cache whatever the width is.
/// Floats may also lie in one tall tile of all rows, of which kernels take some at a time: it can be read in the other
/// direction as well, as panels of one line.
#pragma once

#include <moevit/simd/packed.hpp>

#include <cstddef>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// What the elements of tiled rows are. int8 numbers are stored with 128 added, as unsigned bytes.
enum class RowFormat : unsigned char { float32, bfloat16, int8 };

constexpr Index line_bytes = 64;

/// Bytes of an element of tiled rows.
constexpr Index row_element_bytes(RowFormat format) {
  return format == RowFormat::float32 ? 4 : format == RowFormat::bfloat16 ? 2 : 1;
}

/// Bytes that a row of `width` elements takes in any format.
constexpr Index tiled_row_bytes(Index width) { return round_up(std::max<Index>(width, 1) * 4, line_bytes); }

/// A row of floats in lines of 16, `step` bytes apart: a row of a tile, or 16 consecutive floats each.
struct FloatLines {
  const std::byte* data = nullptr;
  Index step = line_bytes;

  const float* line(Index index) const { return reinterpret_cast<const float*>(data + index * step); }
  /// Copies `count` floats from line `first` on.
  void copy(Index first, Index count, float* target) const {
    for (; count > 0; ++first, count -= 16, target += 16) std::copy_n(line(first), std::min<Index>(count, 16), target);
  }
};

/// Writes a row of `width` floats in another format, in lines `step` bytes apart.
using PutRow = void (*)(FloatLines source, Index width, std::byte* target, Index step);

/// Some consecutive rows of RowTiles.
struct RowTile {
  std::byte* data = nullptr;
  Index first_row = 0;
  Index rows = 0;
  Index row_bytes = 0;
  Index line_step = 0;  ///< bytes from a line of a row to its next one

  /// Bytes to the next tile, which must have the same height.
  Index step() const { return rows * (line_step > rows * line_bytes ? line_bytes : row_bytes); }
  /// The first line of row `row` of the tile.
  std::byte* row_data(Index row) const { return data + row * line_bytes; }
  /// int8: where the scale of row `row` of the tile lies, x = scale * (element - 128). It takes the last four bytes of
  /// the row's last line, which int8 numbers never need: they take a quarter of the lines that the row has as floats,
  /// or, if that is only one line, a quarter of it.
  std::byte* row_scale(Index row) const {
    return data + row * line_bytes + rows * (row_bytes - line_bytes) + line_bytes - 4;
  }
};

/// The tiles of RowTiles: count() of nearly equal height, the higher ones last (197 rows are 15 tiles of 13 and 14, not
/// 14 and a rest of 1). Divides once, when it is made.
class TileList {
 public:
  /// `line_step`: see RowTiles.
  TileList(std::byte* data, Index rows, Index row_bytes, Index most_rows, Index line_step)
      : data_(data),
        row_bytes_(row_bytes),
        line_step_(line_step),
        count_(ceil_div(rows, most_rows)),
        low_(count_ ? rows / count_ : 0),
        low_tiles_(count_ * (low_ + 1) - rows) {}

  Index count() const { return count_; }
  /// How many tiles from number `tile` on have its height.
  Index alike(Index tile) const { return (tile < low_tiles_ ? low_tiles_ : count_) - tile; }
  RowTile operator[](Index tile) const {
    const Index first = tile * low_ + std::max<Index>(0, tile - low_tiles_);
    const Index rows = low_ + (tile >= low_tiles_ ? 1 : 0);
    if (line_step_ > 0) return {data_ + first * line_bytes, first, rows, row_bytes_, line_step_};
    return {data_ + first * row_bytes_, first, rows, row_bytes_, rows * line_bytes};
  }

 private:
  std::byte* data_;
  Index row_bytes_;
  Index line_step_;
  Index count_;
  Index low_;        ///< rows of the lower tiles
  Index low_tiles_;  ///< how many are lower
};

/// `rows` rows of `width` elements in tiles of at most `most_rows` rows.
struct RowTiles {
  std::byte* data = nullptr;  ///< rows * row_bytes bytes on a cache line
  Index rows = 0;
  Index width = 0;
  Index row_bytes = 0;  ///< at least what the lines of a row take
  Index most_rows = 1;
  RowFormat format = RowFormat::float32;
  Index line_step = 0;       ///< one tall tile: bytes from a line of a row to its next one; 0: one tile after the other
  PutRow put_row = nullptr;  ///< see TileKernel

  TileList tiles() const { return {data, rows, row_bytes, most_rows, line_step}; }
};

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
