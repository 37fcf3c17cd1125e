/// Products of matrices that are both made on the way, on the calling thread, as backward passes need them.
#pragma once

#include <moevit/layers/linear.hpp>

namespace moevit {

/// x as the right operand of a product; packed_size(x.rows(), x.cols()) floats of scratch.
inline simd::PackedView packed_rows(ConstMatrixView x, Arena& arena) {
  return simd::pack(x.data(), x.stride(), x.rows(), x.cols(), arena.take<float>(simd::packed_size(x.rows(), x.cols())));
}

/// y = x w^T.
inline void multiply_by_transpose(ConstMatrixView x, ConstMatrixView w, MatrixView y, Arena& arena) {
  const Arena::Scope scope(arena);
  float* room = arena.take<float>(simd::packed_size(w.cols(), w.rows()));
  multiply_rows(x, simd::pack_transposed(w.data(), w.stride(), w.cols(), w.rows(), room), y, arena);
}

/// y += x^T d.
inline void add_transpose_product(ConstMatrixView x, ConstMatrixView d, MatrixView y, Arena& arena) {
  const Arena::Scope scope(arena);
  const simd::PackedView packed = packed_rows(d, arena);
  simd::add_transposed_product(x.data(), x.stride(), 0, x.cols(), packed, {y.data(), y.stride(), packed.panel});
}

/// y = x^T d.
inline void multiply_transpose(ConstMatrixView x, ConstMatrixView d, MatrixView y, Arena& arena) {
  for (Index row = 0; row < y.rows(); ++row) std::fill_n(y.row_data(row), y.cols(), 0.f);
  add_transpose_product(x, d, y, arena);
}

/// Bytes of scratch for a product of matrices whose sides are at most so long, two at a time.
constexpr Index made_operands_bytes(Index rows, Index inner, Index cols) {
  const Index operand = std::max({simd::packed_size(inner, cols), simd::packed_size(cols, inner),
                                  simd::packed_size(rows, cols), simd::packed_size(rows, inner)});
  return arena_bytes<float>(operand) + tiles_bytes(std::max({rows, inner, cols}), std::max({rows, inner, cols}));
}

}  // namespace moevit
