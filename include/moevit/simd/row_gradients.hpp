/// Gradients of operations on rows: layer norm and softmax.
#pragma once

#include <moevit/simd/layer_norm.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// Calls visit(column, valid) for whole registers of a row and, with fewer valid lanes, for its rest.
template <class Arch, class Visit>
void visit_registers(Index count, Visit visit) {
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  for (Index i = 0; i < whole; i += lanes<Arch>) visit(i, lanes<Arch>);
  if (whole < count) visit(whole, count - whole);
}

}  // namespace detail

/// Sum of x * y over `count` floats; its order depends on count alone.
template <class Arch = DefaultArch>
float dot_row(const float* x, const float* y, Index count) {
  Batch<Arch> sum(0.f);
  detail::visit_registers<Arch>(count, [&](Index i, Index valid) {
    sum = fma<Arch>(load_valid<Arch>(x + i, valid), load_valid<Arch>(y + i, valid), sum);
  });
  return reduce_add<Arch>(sum);
}

/// The gradient of layer_norm_row: with n = (x - mean) / sqrt(variance + epsilon) and g = dy * scale,
/// dx += (g - mean(g) - n mean(g n)) / sqrt(variance + epsilon); d_scale += dy n and, unless null, d_bias += dy.
template <class Arch = DefaultArch>
void add_layer_norm_gradient_row(const float* x, const float* dy, Index count, const float* scale, float epsilon,
                                 float* d_scale, float* d_bias, float* dx) {
  using B = Batch<Arch>;
  const float inverse_count = 1.f / static_cast<float>(count);
  const detail::RowStatistics<Arch> row = detail::row_statistics<Arch>(x, count, epsilon);
  const B mean = row.mean, inverse = row.inverse;  // named: lambdas cannot take parts of a binding
  B sum(0.f), sum_with_n(0.f);
  detail::visit_registers<Arch>(count, [&](Index i, Index valid) {
    const B n = (load_valid<Arch>(x + i, valid) - mean) * inverse, d = load_valid<Arch>(dy + i, valid);
    const B g = d * load_valid<Arch>(scale + i, valid);  // 0 in the lanes that do not exist
    sum += g;
    sum_with_n = fma<Arch>(g, n, sum_with_n);
    store_valid<Arch>(fma<Arch>(d, n, load_valid<Arch>(d_scale + i, valid)), d_scale + i, valid);
    if (d_bias) store_valid<Arch>(load_valid<Arch>(d_bias + i, valid) + d, d_bias + i, valid);
  });
  const B mean_g(reduce_add<Arch>(sum) * inverse_count), mean_gn(reduce_add<Arch>(sum_with_n) * inverse_count);
  detail::visit_registers<Arch>(count, [&](Index i, Index valid) {
    const B n = (load_valid<Arch>(x + i, valid) - mean) * inverse;
    const B g = load_valid<Arch>(dy + i, valid) * load_valid<Arch>(scale + i, valid);
    store_valid<Arch>(fma<Arch>(fnma<Arch>(n, mean_gn, g - mean_g), inverse, load_valid<Arch>(dx + i, valid)), dx + i,
                      valid);
  });
}

/// The gradient of softmax(factor * x) = p: dx = factor * p * (dp - sum(p dp)) over `count` floats. dx may be dp.
template <class Arch = DefaultArch>
void softmax_gradient_row(const float* p, const float* dp, Index count, float factor, float* dx) {
  using B = Batch<Arch>;
  const B mean(dot_row<Arch>(p, dp, count)), scale(factor);
  detail::visit_registers<Arch>(count, [&](Index i, Index valid) {
    const B difference = load_valid<Arch>(dp + i, valid) - mean;
    store_valid<Arch>(load_valid<Arch>(p + i, valid) * difference * scale, dx + i, valid);
  });
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
