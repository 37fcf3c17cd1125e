/// Layer norm of a row.
#pragma once

#include <moevit/simd/simd.hpp>

#include <cmath>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// The sum over a row, visit(sum, batch) adding one batch to it; the last one is padded: visit(sum, batch, lanes).
template <class Arch, class Visit>
float sum_over_row(const float* x, Index count, Visit visit) {
  using B = Batch<Arch>;
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  B sum(0.f);
  for (Index i = 0; i < whole; i += lanes<Arch>) sum = visit(sum, B::load_unaligned(x + i), lanes<Arch>);
  if (const Index rest = count - whole) sum = visit(sum, load_first<Arch>(x + whole, rest, 0.f), rest);
  return reduce_add<Arch>(sum);
}

/// What a row is normalised with: its mean and 1 / sqrt(variance + epsilon), in all lanes.
template <class Arch>
struct RowStatistics {
  Batch<Arch> mean, inverse;
};

/// In two passes; count > 0.
template <class Arch>
MOEVIT_ALWAYS_INLINE RowStatistics<Arch> row_statistics(const float* x, Index count, float epsilon) {
  using B = Batch<Arch>;
  const float inverse_count = 1.f / static_cast<float>(count);
  const B mean(sum_over_row<Arch>(x, count, [](const B& sum, const B& v, Index) { return sum + v; }) * inverse_count);
  const auto add_square = [&](const B& sum, const B& v, Index valid) {
    const B difference = valid == lanes<Arch> ? v - mean : keep_first<Arch>(v - mean, valid, 0.f);
    return fma<Arch>(difference, difference, sum);
  };
  const float variance = sum_over_row<Arch>(x, count, add_square) * inverse_count;
  return {mean, B(1.f / std::sqrt(variance + epsilon))};
}

}  // namespace detail

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias with the variance of the row itself (divided by count), in
/// two passes. bias may be null. y may be x. The order of the sums depends on count alone.
template <class Arch = DefaultArch>
void layer_norm_row(const float* x, Index count, const float* scale, const float* bias, float epsilon, float* y) {
  using B = Batch<Arch>;
  if (count == 0) return;
  const auto [mean, inverse] = detail::row_statistics<Arch>(x, count, epsilon);
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  for (Index i = 0; i < whole; i += lanes<Arch>) {
    const B shift = bias ? B::load_unaligned(bias + i) : B(0.f);
    fma<Arch>(B::load_unaligned(x + i) - mean, inverse * B::load_unaligned(scale + i), shift).store_unaligned(y + i);
  }
  if (const Index rest = count - whole) {
    const B shift = bias ? load_first<Arch>(bias + whole, rest, 0.f) : B(0.f);
    const B value = load_first<Arch>(x + whole, rest, 0.f) - mean;
    store_first<Arch>(fma<Arch>(value, inverse * load_first<Arch>(scale + whole, rest, 0.f), shift), y + whole, rest);
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
