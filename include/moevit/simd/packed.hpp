/// Weights in panels: the layout that the GEMM reads in one linear sweep.
#pragma once

#include <moevit/simd/simd.hpp>

namespace moevit::simd {

/// Columns of a panel: two registers, or one where the matrix has no more columns than that.
template <class Arch = DefaultArch>
constexpr Index panel_width(Index cols) {
  return cols <= lanes<Arch> ? lanes<Arch> : 2 * lanes<Arch>;
}

/// Floats that a rows x cols matrix takes in panels: columns are padded with zeros to whole panels.
template <class Arch = DefaultArch>
constexpr Index packed_size(Index rows, Index cols) {
  return rows * round_up(cols, panel_width<Arch>(cols));
}

/// A rows x cols matrix in panels of `panel` columns. Element (k, n) lies at
/// (n / panel) * rows * panel + k * panel + n % panel; the data are aligned to a cache line.
struct PackedView {
  const float* data = nullptr;
  Index rows = 0;  ///< K: inputs
  Index cols = 0;  ///< N: outputs
  Index panel = 0;

  Index panels() const { return ceil_div(cols, panel); }
  const float* panel_data(Index index) const { return data + index * rows * panel; }
};

/// Packs a row-major rows x cols matrix; `target` has packed_size(rows, cols) floats.
template <class Arch = DefaultArch>
PackedView pack(const float* source, Index stride, Index rows, Index cols, float* target) {
  const Index panel = panel_width<Arch>(cols);
  float* out = target;
  for (Index first = 0; first < cols; first += panel) {
    const Index width = std::min(panel, cols - first);
    for (Index row = 0; row < rows; ++row, out += panel) {
      const float* in = source + row * stride + first;
      std::copy_n(in, width, out);
      std::fill(out + width, out + panel, 0.f);
    }
  }
  return {target, rows, cols, panel};
}

/// Packs the transpose of a row-major cols x rows matrix, so that column n of the result is row n of the source.
template <class Arch = DefaultArch>
PackedView pack_transposed(const float* source, Index stride, Index rows, Index cols, float* target) {
  const Index panel = panel_width<Arch>(cols);
  float* out = target;
  for (Index first = 0; first < cols; first += panel, out += rows * panel) {
    const Index width = std::min(panel, cols - first);
    for (Index col = 0; col < width; ++col) {
      const float* in = source + (first + col) * stride;
      for (Index row = 0; row < rows; ++row) out[row * panel + col] = in[row];
    }
    for (Index row = 0; row < rows; ++row) std::fill(out + row * panel + width, out + (row + 1) * panel, 0.f);
  }
  return {target, rows, cols, panel};
}

}  // namespace moevit::simd
