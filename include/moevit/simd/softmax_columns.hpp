/// Softmax down the columns of scores, and its gradient.
///
/// Scores whose columns are to be normalised lie in a tall tile (gemm.hpp), 16 floats from row to row: every lane is a
/// softmax of its own, and no sum or maximum runs across lanes.
#pragma once

#include <moevit/simd/exp.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// Floats from a row of a line to the next one.
inline constexpr Index column_step = 16;

/// Largest of `count` > 0 values in each lane. A NaN may be lost.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> largest_of_columns(const float* x, Index count) {
  using B = Batch<Arch>;
  B largest = B::load_aligned(x);
  for (Index row = 1; row < count; ++row) largest = xsimd::max(largest, B::load_aligned(x + row * column_step));
  return largest;
}

}  // namespace detail

/// Replaces the first `columns` <= 16 columns of `count` > 0 rows of x by exp(factor * (x - largest of the column)) and
/// sets `inverse_sums` (16 floats on a cache line) to the inverses of their sums, which run over rising rows. Lanes
/// that fill the last register are computed, too.
template <class Arch = DefaultArch>
void exp_columns(float* x, Index count, Index columns, float factor, float* inverse_sums) {
  using B = Batch<Arch>;
  const B scale(factor * log2_e);
  for (Index first = 0; first < columns; first += lanes<Arch>) {
    float* column = x + first;
    const B top = detail::largest_of_columns<Arch>(column, count);
    B sum(0.f);
    for (Index row = 0; row < count; ++row, column += detail::column_step) {
      const B value = exp2_of_negative<Arch>((B::load_aligned(column) - top) * scale);
      value.store_aligned(column);
      sum += value;
    }
    (B(1.f) / sum).store_aligned(inverse_sums + first);
  }
}

/// As softmax_row and softmax_gradient_row, for the first `columns` <= 16 columns of `count` > 0 rows: scores become
/// weights p = softmax(factor * score) and dp, their gradient, becomes factor * p * (dp - sum(p dp)).
template <class Arch = DefaultArch>
void softmax_gradient_columns(float* scores, float* dp, Index count, Index columns, float factor) {
  using B = Batch<Arch>;
  const B scale(factor), scale_of_power(factor * log2_e);
  for (Index first = 0; first < columns; first += lanes<Arch>) {
    float *p = scores + first, *d = dp + first;
    const B top = detail::largest_of_columns<Arch>(p, count);
    B sum(0.f), sum_with_d(0.f);
    for (Index row = 0; row < count; ++row) {
      const Index place = row * detail::column_step;
      const B value = exp2_of_negative<Arch>((B::load_aligned(p + place) - top) * scale_of_power);
      value.store_aligned(p + place);
      sum += value;
      sum_with_d = fma<Arch>(value, B::load_aligned(d + place), sum_with_d);
    }
    const B inverse = B(1.f) / sum, mean = sum_with_d * inverse;
    for (Index row = 0; row < count; ++row) {
      const Index place = row * detail::column_step;
      const B weight = B::load_aligned(p + place) * inverse;
      weight.store_aligned(p + place);
      (weight * (B::load_aligned(d + place) - mean) * scale).store_aligned(d + place);
    }
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
