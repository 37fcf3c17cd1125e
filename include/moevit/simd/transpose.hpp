/// Transposing small blocks of floats.
#pragma once

#include <moevit/simd/simd.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// Four floats, the unit in which tiles are transposed, on any instruction set of the family.
#if defined(__aarch64__)
using Quad = Batch<xsimd::neon64>;
#elif defined(__x86_64__)
using Quad = Batch<xsimd::sse2>;
#endif

/// Transposes 4 x 4 floats, from[r][0..3] to to(c)[0..3].
template <class To>
void transpose_quad(const std::array<const float*, 4>& from, To to) {
  const Quad a = Quad::load_unaligned(from[0]), b = Quad::load_unaligned(from[1]), c = Quad::load_unaligned(from[2]),
             d = Quad::load_unaligned(from[3]);
  const Quad ac_low = xsimd::zip_lo(a, c), bd_low = xsimd::zip_lo(b, d), ac_high = xsimd::zip_hi(a, c),
             bd_high = xsimd::zip_hi(b, d);
  xsimd::zip_lo(ac_low, bd_low).store_unaligned(to(0));
  xsimd::zip_hi(ac_low, bd_low).store_unaligned(to(1));
  xsimd::zip_lo(ac_high, bd_high).store_unaligned(to(2));
  xsimd::zip_hi(ac_high, bd_high).store_unaligned(to(3));
}

}  // namespace detail

/// target[row][col] = source[col][row] for rows x cols elements.
inline void transpose(const float* source, Index stride, Index rows, Index cols, float* target, Index target_stride) {
  const Index whole_rows = rows / 4 * 4, whole_cols = cols / 4 * 4;
  for (Index col = 0; col < whole_cols; col += 4)
    for (Index row = 0; row < whole_rows; row += 4)
      detail::transpose_quad({source + col * stride + row, source + (col + 1) * stride + row,
                              source + (col + 2) * stride + row, source + (col + 3) * stride + row},
                             [&](Index r) { return target + (row + r) * target_stride + col; });
  for (Index col = 0; col < cols; ++col)
    for (Index row = col < whole_cols ? whole_rows : 0; row < rows; ++row)
      target[row * target_stride + col] = source[col * stride + row];
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
