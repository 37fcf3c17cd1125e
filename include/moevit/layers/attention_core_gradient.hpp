/// The gradient of one head of attention, softmax(factor q k^T) v, with run-time sizes.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/simd/attention.hpp>

namespace moevit {

/// Queries, keys and values of one head and image, or their gradients: queries x width, tokens x width.
template <class View>
struct HeadParts {
  View query, key, value;
};

/// Bytes of scratch of attention_core_gradient() for up to `tokens` queries: weights and their gradient, four operands
/// and a transposed one, biases or the gradient of scores in rows.
constexpr Index attention_core_gradient_bytes(Index tokens, Index width) {
  return 2 * arena_bytes<float>(simd::tall_size(tokens, tokens)) +
         4 * arena_bytes<float>(simd::tall_size(tokens, width)) + arena_bytes<float>(simd::packed_size(width, tokens)) +
         arena_bytes<float>(tokens * simd::score_bias_stride(tokens));
}

namespace detail {

/// Rows in a tall tile: an operand of products on either side.
inline simd::RowTiles take_tall(Index rows, Index width, Arena& arena) {
  return simd::tall_tile(rows, width, arena.take<float>(simd::tall_size(rows, width)));
}
inline simd::RowTiles tall_rows(ConstMatrixView x, Arena& arena) {
  const simd::RowTiles tall = take_tall(x.rows(), x.cols(), arena);
  simd::fill_tiles(tall, [&](Index row) { return x.row_data(row); });
  return tall;
}

/// y = x w^T + bias^T, y tall. `bias`: a row for each row of w, simd::score_bias_stride(x.rows) floats apart, or null.
inline void multiply_by_transpose(const simd::RowTiles& x, ConstMatrixView w, const float* bias,
                                  const simd::RowTiles& y, Arena& arena) {
  const Arena::Scope scope(arena);
  float* room = arena.take<float>(simd::packed_size(w.cols(), w.rows()));
  simd::Epilogue epilogue;
  if (bias) {
    const Index stride = simd::score_bias_stride(w.rows());
    float* const transposed = arena.take<float>(x.rows * stride);
    simd::transpose(bias, simd::score_bias_stride(x.rows), x.rows, w.rows(), transposed, stride);
    epilogue.residual = transposed, epilogue.residual_stride = stride;
  }
  simd::gemm(x, simd::pack_transposed(w.data(), w.stride(), w.cols(), w.rows(), room), epilogue, simd::TilesOut{y});
}

/// y = x^T w for tall x.
inline void multiply_transpose(const simd::RowTiles& x, const simd::PackedView& w, MatrixView y) {
  for (Index first = 0; first < x.width; first += 16)
    simd::add_transposed_product(simd::line_of(x, first / 16), 16, 0, std::min<Index>(16, x.width - first), w,
                                 {y.row_data(first), y.stride(), w.panel, true});
}

/// visit(x^T) for tall x.
template <class Visit>
void visit_transposed(const simd::RowTiles& x, Arena& arena, Visit visit) {
  const Arena::Scope scope(arena);
  const MatrixView rows(arena.take<float>(x.width * x.rows), x.width, x.rows);
  for (Index first = 0; first < x.width; first += 16)
    simd::transpose(simd::line_of(x, first / 16), 16, std::min<Index>(16, x.width - first), x.rows,
                    rows.row_data(first), x.rows);
  visit(ConstMatrixView(rows));
}

}  // namespace detail

/// d (assigned) from d_mixed, the gradient of the head's output, queries x width. The weights are computed anew:
/// with p = softmax(factor (q k^T + bias)), dp = d_mixed v^T and ds = factor p (dp - sum(p dp)): dv = p^T d_mixed,
/// dq = ds k, dk = ds^T q. `bias` is that of simd::AttentionHead, or null; visit(ds) sees the gradient of the scores,
/// which is that of the bias, too, unless it is Nothing.
///
/// All matrices of scores are transposed, keys x queries: softmax then goes down columns.
template <class Visit = Nothing>
void attention_core_gradient(const HeadParts<ConstMatrixView>& head, float factor, const float* bias,
                             ConstMatrixView d_mixed, const HeadParts<MatrixView>& d, Arena& arena, Visit visit = {}) {
  const Arena::Scope scope(arena);
  const Index queries = head.query.rows(), tokens = head.key.rows();
  const simd::RowTiles query = detail::tall_rows(head.query, arena), key = detail::tall_rows(head.key, arena);
  const simd::RowTiles value = detail::tall_rows(head.value, arena), dy = detail::tall_rows(d_mixed, arena);
  const simd::RowTiles p = detail::take_tall(tokens, queries, arena), ds = detail::take_tall(tokens, queries, arena);
  detail::multiply_by_transpose(key, head.query, bias, p, arena);
  detail::multiply_by_transpose(value, d_mixed, nullptr, ds, arena);
  for (Index first = 0; tokens > 0 && first < queries; first += 16)
    simd::softmax_gradient_columns(simd::line_of(p, first / 16), simd::line_of(ds, first / 16), tokens,
                                   std::min<Index>(16, queries - first), factor);
  if constexpr (!std::is_same_v<Visit, Nothing>) detail::visit_transposed(ds, arena, visit);
  simd::gemm(p, simd::panels_of(dy), {}, simd::RowsOut{d.value.data(), d.value.stride()});
  simd::gemm(ds, simd::panels_of(query), {}, simd::RowsOut{d.key.data(), d.key.stride()});
  detail::multiply_transpose(ds, simd::panels_of(key), d.query);
}
inline void attention_core_gradient(const HeadParts<ConstMatrixView>& head, float factor, ConstMatrixView d_mixed,
                                    const HeadParts<MatrixView>& d, Arena& arena) {
  attention_core_gradient(head, factor, nullptr, d_mixed, d, arena);
}

}  // namespace moevit
