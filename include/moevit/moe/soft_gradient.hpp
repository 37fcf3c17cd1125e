/// The gradient of soft routing for one group of S tokens and Z slots, with run-time sizes.
#pragma once

#include <moevit/layers/made_operands.hpp>
#include <moevit/simd/row_gradients.hpp>

#include <cmath>

namespace moevit {

/// What was mixed in one group: tokens (S x D), combine weights (S x Z), dispatch weights (Z x S), outputs (Z x D).
struct SoftGroup {
  ConstMatrixView x, combine, dispatch, outputs;
};

/// Bytes of scratch of soft_mixing_gradient() and of the product before it.
constexpr Index soft_gradient_bytes(Index group, Index slots, Index dim) {
  return 2 * arena_bytes<float>(group * slots) + made_operands_bytes(group, slots, dim);
}

/// From dy (S x D) and d_inputs (Z x D), the gradients of the mixed outputs y = combine outputs and of the slots'
/// inputs = dispatch x: d_logits (S x Z, assigned), whose softmax over slots is `combine` and over tokens `dispatch`;
/// and the part of the tokens' gradient that comes through the inputs, added to dx.
inline void soft_mixing_gradient(const SoftGroup& group, ConstMatrixView dy, ConstMatrixView d_inputs,
                                 MatrixView d_logits, MatrixView dx, Arena& arena) {
  const Arena::Scope scope(arena);
  const Index tokens = group.x.rows(), slots = group.outputs.rows();
  multiply_by_transpose(dy, group.outputs, d_logits, arena);
  for (Index token = 0; token < tokens; ++token)
    simd::softmax_gradient_row(group.combine.row_data(token), d_logits.row_data(token), slots, 1.f,
                               d_logits.row_data(token));
  const MatrixView by_slot(arena.take<float>(slots * tokens), slots, tokens);
  multiply_by_transpose(d_inputs, group.x, by_slot, arena);
  for (Index slot = 0; slot < slots; ++slot) {
    float* d = by_slot.row_data(slot);
    simd::softmax_gradient_row(group.dispatch.row_data(slot), d, tokens, 1.f, d);
    for (Index token = 0; token < tokens; ++token) d_logits(token, slot) += d[token];
  }
  add_transpose_product(group.dispatch, d_inputs, dx, arena);
}

/// dx += the gradient of factor * x / sqrt(|x|^2 + 1e-6) = n over `count` values `stride` apart, from dn; returns the
/// sum of n dn.
inline float add_normalised_gradient(const float* x, const float* dn, Index count, Index stride, float factor,
                                     float* dx) {
  float squares = 0.f, product = 0.f;
  for (Index i = 0; i < count; ++i) squares = std::fma(x[i * stride], x[i * stride], squares);
  for (Index i = 0; i < count; ++i) product = std::fma(x[i * stride], dn[i * stride], product);
  const float inverse = 1.f / std::sqrt(squares + 1e-6f), along = product * inverse * inverse;
  for (Index i = 0; i < count; ++i) dx[i * stride] += factor * inverse * (dn[i * stride] - x[i * stride] * along);
  return factor * inverse * product;
}

}  // namespace moevit
