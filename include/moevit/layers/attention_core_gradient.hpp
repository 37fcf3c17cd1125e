/// The gradient of one head of attention, softmax(factor q k^T) v, with run-time sizes.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/simd/attention.hpp>
#include <moevit/simd/row_gradients.hpp>

namespace moevit {

/// Queries, keys and values of one head and image, or their gradients: queries x width, tokens x width.
template <class View>
struct HeadParts {
  View query, key, value;
};

/// Bytes of scratch of attention_core_gradient() for up to `tokens` queries: weights and their gradient, one packed
/// operand, tiles of rows.
constexpr Index attention_core_gradient_bytes(Index tokens, Index width) {
  const Index operand = std::max(simd::packed_size(width, tokens), simd::packed_size(tokens, width));
  return 2 * arena_bytes<float>(tokens * tokens) + arena_bytes<float>(operand) +
         tiles_bytes(tokens, std::max(tokens, width));
}

namespace detail {

/// y = x w^T, with w packed for it.
inline void multiply_by_transpose(ConstMatrixView x, ConstMatrixView w, MatrixView y, Arena& arena) {
  const Arena::Scope scope(arena);
  float* room = arena.take<float>(simd::packed_size(w.cols(), w.rows()));
  multiply_rows(x, simd::pack_transposed(w.data(), w.stride(), w.cols(), w.rows(), room), y, arena);
}

inline simd::PackedView packed_rows(ConstMatrixView x, Arena& arena) {
  return simd::pack(x.data(), x.stride(), x.rows(), x.cols(), arena.take<float>(simd::packed_size(x.rows(), x.cols())));
}

/// y = x^T d.
inline void multiply_transpose(ConstMatrixView x, ConstMatrixView d, MatrixView y, Arena& arena) {
  const Arena::Scope scope(arena);
  for (Index row = 0; row < y.rows(); ++row) std::fill_n(y.row_data(row), y.cols(), 0.f);
  const simd::PackedView packed = packed_rows(d, arena);
  simd::add_transposed_product(x.data(), x.stride(), 0, x.cols(), packed, {y.data(), y.stride(), packed.panel});
}

}  // namespace detail

/// d (assigned) from d_mixed, the gradient of the head's output, queries x width. The weights are computed anew:
/// with p = softmax(factor q k^T), dp = d_mixed v^T and ds = factor p (dp - sum(p dp)): dv = p^T d_mixed, dq = ds k,
/// dk = ds^T q.
inline void attention_core_gradient(const HeadParts<ConstMatrixView>& head, float factor, ConstMatrixView d_mixed,
                                    const HeadParts<MatrixView>& d, Arena& arena) {
  const Arena::Scope scope(arena);
  const Index queries = head.query.rows(), tokens = head.key.rows();
  const MatrixView p(arena.take<float>(queries * tokens), queries, tokens);
  const MatrixView ds(arena.take<float>(queries * tokens), queries, tokens);
  detail::multiply_by_transpose(head.query, head.key, p, arena);
  detail::multiply_by_transpose(d_mixed, head.value, ds, arena);
  for (Index row = 0; row < queries; ++row) {
    simd::softmax_row(p.row_data(row), tokens, factor, p.row_data(row));
    simd::softmax_gradient_row(p.row_data(row), ds.row_data(row), tokens, factor, ds.row_data(row));
  }
  detail::multiply_transpose(p, d_mixed, d.value, arena);
  detail::multiply_transpose(ds, head.query, d.key, arena);
  const Arena::Scope scope_of_keys(arena);
  multiply_rows(ds, detail::packed_rows(head.key, arena), d.query, arena);
}

}  // namespace moevit
