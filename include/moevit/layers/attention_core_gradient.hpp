/// The gradient of one head of attention, softmax(factor q k^T) v, with run-time sizes.
#pragma once

#include <moevit/layers/made_operands.hpp>
#include <moevit/simd/attention.hpp>
#include <moevit/simd/row_gradients.hpp>
#include <moevit/simd/rows.hpp>

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

/// d (assigned) from d_mixed, the gradient of the head's output, queries x width. The weights are computed anew:
/// with p = softmax(factor (q k^T + bias)), dp = d_mixed v^T and ds = factor p (dp - sum(p dp)): dv = p^T d_mixed,
/// dq = ds k, dk = ds^T q. `bias` is that of simd::AttentionHead, or null; visit(ds) sees the gradient of the scores,
/// which is that of the bias, too.
template <class Visit>
void attention_core_gradient(const HeadParts<ConstMatrixView>& head, float factor, const float* bias,
                             ConstMatrixView d_mixed, const HeadParts<MatrixView>& d, Arena& arena, Visit visit) {
  const Arena::Scope scope(arena);
  const Index queries = head.query.rows(), tokens = head.key.rows();
  const MatrixView p(arena.take<float>(queries * tokens), queries, tokens);
  const MatrixView ds(arena.take<float>(queries * tokens), queries, tokens);
  multiply_by_transpose(head.query, head.key, p, arena);
  for (Index row = 0; bias && row < queries; ++row)
    simd::add_scaled_row(1.f, bias + row * simd::score_bias_stride(tokens), tokens, p.row_data(row));
  multiply_by_transpose(d_mixed, head.value, ds, arena);
  for (Index row = 0; row < queries; ++row) {
    simd::softmax_row(p.row_data(row), tokens, factor, p.row_data(row));
    simd::softmax_gradient_row(p.row_data(row), ds.row_data(row), tokens, factor, ds.row_data(row));
  }
  visit(ConstMatrixView(ds));
  multiply_transpose(p, d_mixed, d.value, arena);
  multiply_transpose(ds, head.query, d.key, arena);
  multiply(ds, head.key, d.query, arena);
}
inline void attention_core_gradient(const HeadParts<ConstMatrixView>& head, float factor, ConstMatrixView d_mixed,
                                    const HeadParts<MatrixView>& d, Arena& arena) {
  attention_core_gradient(head, factor, nullptr, d_mixed, d, arena, [](ConstMatrixView) {});
}

}  // namespace moevit
