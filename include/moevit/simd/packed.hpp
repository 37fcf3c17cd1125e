/// Weights in panels: the layout that the GEMM reads in one linear sweep, the same on every instruction set.
#pragma once

#include <moevit/simd/transpose.hpp>

#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// What the elements of packed weights are.
enum class WeightFormat : unsigned char { float32, bfloat16, int8 };

struct TileKernel;  // simd/tile_kernel.hpp

/// Columns of a panel. Two AVX-512 registers, or one where the matrix has no more columns than that; narrower
/// instruction sets go through a panel in groups of columns.
constexpr Index panel_width(Index cols) { return cols <= 16 ? 16 : 32; }

/// Rows of W that lie side by side in one 32-bit unit of a column: 1 float, 2 bfloat16 or 4 int8 numbers.
constexpr Index rows_per_unit(WeightFormat format) {
  return format == WeightFormat::float32 ? 1 : format == WeightFormat::bfloat16 ? 2 : 4;
}

/// Units of a column: rows are padded with zeros to a cache line's worth of bfloat16 or int8 numbers.
constexpr Index column_units(WeightFormat format, Index rows) {
  return format == WeightFormat::float32 ? rows : round_up(rows, 16 * rows_per_unit(format)) / rows_per_unit(format);
}

/// 32-bit units that a rows x cols matrix takes in panels: columns are padded with zeros to whole panels.
constexpr Index packed_size(Index rows, Index cols, WeightFormat format = WeightFormat::float32) {
  return column_units(format, rows) * round_up(cols, panel_width(cols));
}

/// A rows x cols matrix in panels of `panel` columns, aligned to a cache line. With g = rows_per_unit(format), element
/// (k, n) is number k % g of the unit (n / panel) * column_units * panel + (k / g) * panel + n % panel.
struct PackedView {
  const void* data = nullptr;
  Index rows = 0;  ///< K: inputs
  Index cols = 0;  ///< N: outputs
  Index panel = 0;
  WeightFormat format = WeightFormat::float32;
  const TileKernel* kernel = nullptr;     ///< what multiplies with it; null: the default one for floats
  const float* scales = nullptr;          ///< int8: one per column, W = scale * element; padded to whole panels
  const std::int32_t* offsets = nullptr;  ///< int8: what is added to a column's sum for the offset of x, padded alike

  Index panels() const { return ceil_div(cols, panel); }
  /// The first unit of a panel.
  const std::byte* panel_data(Index index) const {
    return static_cast<const std::byte*>(data) + index * column_units(format, rows) * panel * 4;
  }
  /// The first unit of a column, which lies `panel` units before its next one; null where there are no rows.
  const std::byte* column_data(Index col) const {
    return rows > 0 ? panel_data(col / panel) + col % panel * 4 : nullptr;
  }
  /// The elements of a float32 matrix.
  const float* floats() const { return static_cast<const float*>(data); }
};

/// Copies rows x cols floats, cols <= panel, to one panel.
template <class Arch = DefaultArch>
void pack_panel(const float* source, Index stride, Index rows, Index cols, Index panel, float* target) {
  using B = Batch<Arch>;
  for (Index row = 0; row < rows; ++row, source += stride, target += panel)
    for (Index col = 0; col < panel; col += lanes<Arch>)
      (col < cols ? load_valid<Arch>(source + col, cols - col) : B(0.f)).store_aligned(target + col);
}

/// Packs a row-major rows x cols matrix of floats; `target` has packed_size(rows, cols) floats.
template <class Arch = DefaultArch>
PackedView pack(const float* source, Index stride, Index rows, Index cols, float* target) {
  const Index panel = panel_width(cols);
  for (Index first = 0; rows > 0 && first < cols; first += panel)
    pack_panel<Arch>(source + first, stride, rows, std::min(panel, cols - first), panel, target + first * rows);
  return {.data = target, .rows = rows, .cols = cols, .panel = panel};
}

/// Packs the transpose of a row-major cols x rows matrix, so that column n of the result is row n of the source.
inline PackedView pack_transposed(const float* source, Index stride, Index rows, Index cols, float* target) {
  const Index panel = panel_width(cols);
  float* out = target;
  for (Index first = 0; first < cols; first += panel, out += rows * panel) {
    const Index width = std::min(panel, cols - first);
    transpose(source + first * stride, stride, rows, width, out, panel);
    for (Index row = 0; row < rows; ++row) std::fill(out + row * panel + width, out + (row + 1) * panel, 0.f);
  }
  return {.data = target, .rows = rows, .cols = cols, .panel = panel};
}

/// Packs the transpose of packed floats: cols x rows panels in `target`, which has packed_size(cols, rows) floats.
/// Panels [first, last) of the result are written.
inline PackedView transpose_panels(const PackedView& w, float* target, Index first, Index last) {
  const Index panel = panel_width(w.rows);
  for (Index p = first; p < last; ++p) {
    float* out = target + p * w.cols * panel;
    const Index row = p * panel, rows = std::min(panel, w.rows - row);
    for (Index col = 0; col < w.cols; col += w.panel) {
      const Index cols = std::min(w.panel, w.cols - col);
      transpose(w.floats() + col * w.rows + row * w.panel, w.panel, cols, rows, out + col * panel, panel);
    }
    for (Index col = 0; col < w.cols && rows < panel; ++col)
      std::fill(out + col * panel + rows, out + (col + 1) * panel, 0.f);
  }
  return {.data = target, .rows = w.cols, .cols = w.rows, .panel = panel};
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
