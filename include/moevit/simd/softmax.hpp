/// Softmax of a row.
#pragma once

#include <moevit/simd/simd.hpp>

namespace moevit::simd {

/// y = softmax(factor * x) over `count` floats, factor > 0. Error below 4e-7 of the largest output for any finite x:
/// the maximum is subtracted before the factor comes in, as factor * x alone would round too much where x is large
/// (tests/simd/softmax_test.cpp measures it). -inf gives 0, NaN or +inf make the row NaN. y may be x. count = 0 does
/// nothing. The order of the sum depends on count alone.
template <class Arch = DefaultArch>
void softmax_row(const float* x, Index count, float factor, float* y) {
  using B = Batch<Arch>;
  if (count == 0) return;
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  const Index rest = count - whole;
  const B scale(factor);
  B largest(lowest);
  for (Index i = 0; i < whole; i += lanes<Arch>) largest = xsimd::max(largest, B::load_unaligned(x + i));
  B tail(0.f);
  if (rest) {
    tail = load_first<Arch>(x + whole, rest, lowest);
    largest = xsimd::max(largest, tail);
  }
  const B top(reduce_max<Arch>(largest));
  B sum(0.f);
  for (Index i = 0; i < whole; i += lanes<Arch>) {
    const B value = xsimd::exp((B::load_unaligned(x + i) - top) * scale);
    value.store_unaligned(y + i);
    sum += value;
  }
  if (rest) {
    tail = keep_first<Arch>(xsimd::exp((tail - top) * scale), rest, 0.f);
    sum += tail;
  }
  const B inverse(1.f / reduce_add<Arch>(sum));
  for (Index i = 0; i < whole; i += lanes<Arch>) (B::load_unaligned(y + i) * inverse).store_unaligned(y + i);
  if (rest) store_first<Arch>(tail * inverse, y + whole, rest);
}

}  // namespace moevit::simd
