/// Weights of reduced precision: floats rounded to bfloat16 or to int8 with one scale per column, in panels.
#pragma once

#include <moevit/simd/rows.hpp>
#include <moevit/simd/tile_kernel.hpp>

#include <cassert>
#include <cmath>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// The nearest bfloat16, halves to even; a NaN stays one.
inline std::uint16_t bf16_bits(float x) {
  const auto upper = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(round_to_bf16(x)) >> 16);
  return std::isnan(x) ? static_cast<std::uint16_t>(upper | 0x40u) : upper;  // a NaN may lose all bits that make it one
}

/// Where int8 weights go.
struct Int8Target {
  std::uint32_t* units = nullptr;   ///< packed_size(rows, cols, int8), on a cache line
  float* scales = nullptr;          ///< cols, rounded up to whole panels
  std::int32_t* offsets = nullptr;  ///< as many
};

namespace detail {

/// A matrix of floats, row-major or in panels.
struct FloatSource {
  const float* data = nullptr;
  Index row_step = 0;
  Index panel_step = 0;
  Index rows = 0;
  Index cols = 0;

  Index panel() const { return panel_width(cols); }
  /// Element (row, col) of a panel; zero beyond the matrix.
  float at(Index panel_index, Index row, Index col) const {
    const bool exists = row < rows && panel_index * panel() + col < cols;
    return exists ? data[panel_index * panel_step + row * row_step + col] : 0.f;
  }
};

inline FloatSource row_major_source(const float* source, Index stride, Index rows, Index cols) {
  return {.data = source, .row_step = stride, .panel_step = panel_width(cols), .rows = rows, .cols = cols};
}

inline FloatSource panel_source(const PackedView& floats) {
  assert(floats.format == WeightFormat::float32);
  return {.data = floats.floats(),
          .row_step = floats.panel,
          .panel_step = floats.rows * floats.panel,
          .rows = floats.rows,
          .cols = floats.cols};
}

inline PackedView pack_bf16(const FloatSource& source, const TileKernel& kernel, std::uint32_t* target) {
  assert(kernel.weights == WeightFormat::bfloat16);
  const Index panel = source.panel(), units = column_units(WeightFormat::bfloat16, source.rows);
  std::uint32_t* out = target;
  for (Index p = 0; p < ceil_div(source.cols, panel); ++p)
    for (Index unit = 0; unit < units; ++unit)
      for (Index col = 0; col < panel; ++col) {
        const std::uint32_t even = bf16_bits(source.at(p, 2 * unit, col)),
                            odd = bf16_bits(source.at(p, 2 * unit + 1, col));
        *out++ = even | odd << 16;
      }
  return {.data = target,
          .rows = source.rows,
          .cols = source.cols,
          .panel = panel,
          .format = WeightFormat::bfloat16,
          .kernel = &kernel};
}

/// One column of int8 numbers: W = scale * element, the largest element being 127 or -127.
struct Int8Column {
  float scale = 0.f;
  bool is_empty = true;  ///< all elements are 0: because W is, or because W has a NaN or an infinity (scale = NaN)

  Int8Column(const FloatSource& source, Index panel, Index col) {
    float largest = 0.f;
    bool is_finite = true;
    for (Index row = 0; row < source.rows; ++row) {
      const float size = std::abs(source.at(panel, row, col));
      is_finite = is_finite && std::isfinite(size);
      largest = std::max(largest, size);
    }
    scale = is_finite ? largest / 127.f : std::numeric_limits<float>::quiet_NaN();
    is_empty = !is_finite || scale == 0.f;
  }
  int element(float value) const {
    return is_empty ? 0 : static_cast<int>(std::clamp(std::nearbyint(value / scale), -127.f, 127.f));
  }
};

/// Packs one column of a panel; `out` is its first unit. Returns the sum of its elements.
inline std::int32_t pack_int8_column(const FloatSource& source, Index panel, Index col, const Int8Column& column,
                                     std::uint32_t* out) {
  std::int32_t sum = 0;
  for (Index unit = 0; unit < column_units(WeightFormat::int8, source.rows); ++unit, out += source.panel()) {
    *out = 0;
    for (int i = 0; i < 4; ++i) {
      const int element = column.element(source.at(panel, 4 * unit + i, col));
      sum += element;
      *out |= (static_cast<std::uint32_t>(element) & 0xffu) << (8 * i);
    }
  }
  return sum;
}

inline PackedView pack_int8(const FloatSource& source, const TileKernel& kernel, const Int8Target& target) {
  assert(kernel.weights == WeightFormat::int8);
  const Index panel = source.panel(), units = column_units(WeightFormat::int8, source.rows);
  for (Index p = 0; p < ceil_div(source.cols, panel); ++p)
    for (Index col = 0; col < panel; ++col) {
      const Int8Column column(source, p, col);
      target.scales[p * panel + col] = column.scale;
      target.offsets[p * panel + col] =
          -128 * pack_int8_column(source, p, col, column, target.units + p * units * panel + col);
    }
  return {.data = target.units,
          .rows = source.rows,
          .cols = source.cols,
          .panel = panel,
          .format = WeightFormat::int8,
          .kernel = &kernel,
          .scales = target.scales,
          .offsets = target.offsets};
}

}  // namespace detail

/// Packs a row-major rows x cols matrix of floats as bfloat16; `target` has packed_size(rows, cols, bfloat16) units.
inline PackedView pack_bf16(const float* source, Index stride, Index rows, Index cols, const TileKernel& kernel,
                            std::uint32_t* target) {
  return detail::pack_bf16(detail::row_major_source(source, stride, rows, cols), kernel, target);
}

/// Packs a matrix anew whose floats are in panels already. `target` must not overlap them.
inline PackedView pack_bf16(const PackedView& floats, const TileKernel& kernel, std::uint32_t* target) {
  return detail::pack_bf16(detail::panel_source(floats), kernel, target);
}

/// Packs a row-major rows x cols matrix of floats as int8, symmetric, with one scale per column (its largest size /
/// 127). Elements are rounded to the nearest, halves to even. A column with a NaN or an infinity gets a NaN for a
/// scale, so all its outputs are NaN; one that is zero, or too small for its scale to be a float, gives zeros. At most
/// 2^31 / (255 * 127) = 66,311 rows, so that no sum of 32 bits overflows.
inline PackedView pack_int8(const float* source, Index stride, Index rows, Index cols, const TileKernel& kernel,
                            const Int8Target& target) {
  return detail::pack_int8(detail::row_major_source(source, stride, rows, cols), kernel, target);
}

/// Packs a matrix anew whose floats are in panels already. `target` must not overlap them.
inline PackedView pack_int8(const PackedView& floats, const TileKernel& kernel, const Int8Target& target) {
  return detail::pack_int8(detail::panel_source(floats), kernel, target);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
