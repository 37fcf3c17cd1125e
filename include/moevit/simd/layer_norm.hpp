/// Layer norm of a row.
#pragma once

#include <moevit/simd/simd.hpp>

#include <cmath>

namespace moevit::simd {

namespace detail {

/// Sum of visit(batch, valid lanes) over a row whose last batch is padded with zeros.
template <class Arch, class Visit>
float sum_over_row(const float* x, Index count, Visit visit) {
  using B = Batch<Arch>;
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  B sum(0.f);
  for (Index i = 0; i < whole; i += lanes<Arch>) sum += visit(B::load_unaligned(x + i));
  if (const Index rest = count - whole)
    sum += keep_first<Arch>(visit(load_first<Arch>(x + whole, rest, 0.f)), rest, 0.f);
  return reduce_add<Arch>(sum);
}

}  // namespace detail

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias with the variance of the row itself (divided by count), in
/// two passes. bias may be null. y may be x. The order of the sums depends on count alone.
template <class Arch = DefaultArch>
void layer_norm_row(const float* x, Index count, const float* scale, const float* bias, float epsilon, float* y) {
  using B = Batch<Arch>;
  if (count == 0) return;
  const float inverse_count = 1.f / static_cast<float>(count);
  const B mean(detail::sum_over_row<Arch>(x, count, [](const B& v) { return v; }) * inverse_count);
  const auto squared = [&](const B& v) { return (v - mean) * (v - mean); };
  const float variance = detail::sum_over_row<Arch>(x, count, squared) * inverse_count;
  const B inverse(1.f / std::sqrt(variance + epsilon));
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  for (Index i = 0; i < whole; i += lanes<Arch>) {
    const B shift = bias ? B::load_unaligned(bias + i) : B(0.f);
    xsimd::fma(B::load_unaligned(x + i) - mean, inverse * B::load_unaligned(scale + i), shift).store_unaligned(y + i);
  }
  if (const Index rest = count - whole) {
    const B shift = bias ? load_first<Arch>(bias + whole, rest, 0.f) : B(0.f);
    const B value = load_first<Arch>(x + whole, rest, 0.f) - mean;
    store_first<Arch>(xsimd::fma(value, inverse * load_first<Arch>(scale + whole, rest, 0.f), shift), y + whole, rest);
  }
}

}  // namespace moevit::simd
