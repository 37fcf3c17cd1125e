/// Softmax of a row.
#pragma once

#include <moevit/simd/simd.hpp>

namespace moevit::simd {

/// y[i] = exp(factor * x[i] - max) / sum over i < count. Float lanes; error below 4e-7 of the largest output; any finite x (the maximum is
/// subtracted first). y may be x. count = 0 does nothing. The order of the sum depends on count alone.
template <class Arch = DefaultArch>
void softmax_row(const float* x, Index count, float factor, float* y) {
  using B = Batch<Arch>;
  if (count == 0) return;
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  const Index rest = count - whole;
  const B scale(factor);
  B largest(lowest);
  for (Index i = 0; i < whole; i += lanes<Arch>) largest = xsimd::max(largest, B::load_unaligned(x + i) * scale);
  B tail(0.f);
  if (rest) {
    tail = load_first<Arch>(x + whole, rest, 0.f) * scale;
    largest = xsimd::max(largest, keep_first<Arch>(tail, rest, lowest));
  }
  const B top(reduce_max<Arch>(largest));
  B sum(0.f);
  for (Index i = 0; i < whole; i += lanes<Arch>) {
    const B value = xsimd::exp(B::load_unaligned(x + i) * scale - top);
    value.store_unaligned(y + i);
    sum += value;
  }
  if (rest) {
    tail = keep_first<Arch>(xsimd::exp(tail - top), rest, 0.f);
    sum += tail;
  }
  const B inverse(1.f / reduce_add<Arch>(sum));
  for (Index i = 0; i < whole; i += lanes<Arch>) (B::load_unaligned(y + i) * inverse).store_unaligned(y + i);
  if (rest) store_first<Arch>(tail * inverse, y + whole, rest);
}

}  // namespace moevit::simd
