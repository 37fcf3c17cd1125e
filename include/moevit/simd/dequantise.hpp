/// The sums of int8 products as floats.
#pragma once

#include <moevit/simd/tile_kernel.hpp>

#include <cstring>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET::detail {

/// Turns the 32-bit sums of a tile of x, tile.rows x `columns`, into floats in place: (float(sum + offset) * scale of
/// the column) * scale of the row, each rounded once, in this order, so that products have the same bits on every
/// instruction set. `first_col` is the first column of w.
///
/// Not inlined: else compilers may contract the last product with the addition of a bias, some of them, on some sets.
template <class Arch>
[[gnu::noinline]] void dequantise_tile(float* sums, const RowTile& tile, Index columns, const PackedView& w,
                                       Index first_col) {
  using Ints = xsimd::batch<std::int32_t, Arch>;
  const bool has_offsets = !w.kernel->subtracts_offset;
  for (Index col = 0; col < columns; col += lanes<Arch>) {
    const Ints offset = has_offsets ? Ints::load_unaligned(w.offsets + first_col + col) : Ints(0);
    const auto scale = Batch<Arch>::load_unaligned(w.scales + first_col + col);
    float* target = sums + col;
    for (Index row = 0; row < tile.rows; ++row, target += columns) {
      float row_scale;
      std::memcpy(&row_scale, tile.row_scale(row), sizeof row_scale);
      const Ints sum = Ints::load_aligned(reinterpret_cast<const std::int32_t*>(target)) + offset;
      ((xsimd::to_float(sum) * scale) * Batch<Arch>(row_scale)).store_aligned(target);
    }
  }
}

/// Adds the bias of each column to a tile of sums.
template <class Arch>
void add_bias(float* sums, Index rows, Index columns, const float* bias) {
  for (Index col = 0; col < columns; col += lanes<Arch>) {
    const auto value = Batch<Arch>::load_unaligned(bias + col);
    float* target = sums + col;
    for (Index row = 0; row < rows; ++row, target += columns)
      (Batch<Arch>::load_aligned(target) + value).store_aligned(target);
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET::detail
