/// Softmax of a row.
#pragma once

#include <moevit/simd/exp.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// Largest of `count` values that lie in lines of 16 floats, `line` floats apart.
template <class Arch>
float largest_of_lines(const float* x, Index line, Index count) {
  using B = Batch<Arch>;
  B largest(-std::numeric_limits<float>::infinity());
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  for (Index i = 0; i < whole; i += lanes<Arch>)
    largest = xsimd::max(largest, B::load_unaligned(x + i / 16 * line + i % 16));
  if (const Index rest = count - whole)
    largest = xsimd::max(
        largest, load_first<Arch>(x + whole / 16 * line + whole % 16, rest, -std::numeric_limits<float>::infinity()));
  return reduce_max<Arch>(largest);
}

}  // namespace detail

/// y = exp(factor * (x - largest)) for `count` values, which lie in lines of 16 floats `line` floats apart; returns
/// their sum, whose order depends on count alone. y may be x.
template <class Arch = DefaultArch>
float exp_lines(const float* x, Index line, Index count, float factor, float* y) {
  using B = Batch<Arch>;
  const B top(detail::largest_of_lines<Arch>(x, line, count)), scale(factor * log2_e);
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  B sum(0.f);
  for (Index i = 0; i < whole; i += lanes<Arch>) {
    const Index place = i / 16 * line + i % 16;
    const B value = exp2_of_negative<Arch>((B::load_unaligned(x + place) - top) * scale);
    value.store_unaligned(y + place);
    sum += value;
  }
  if (const Index rest = count - whole) {
    const Index place = whole / 16 * line + whole % 16;
    const B value =
        keep_first<Arch>(exp2_of_negative<Arch>((load_first<Arch>(x + place, rest, 0.f) - top) * scale), rest, 0.f);
    store_first<Arch>(value, y + place, rest);
    sum += value;
  }
  return reduce_add<Arch>(sum);
}

/// y = softmax(factor * x) over `count` floats, factor > 0. Error below 4e-7 of the largest output for any finite x:
/// the maximum is subtracted before the factor comes in, as factor * x alone would round too much where x is large
/// (tests/simd/softmax_test.cpp measures it). -inf gives 0, NaN or +inf make the row NaN. y may be x. count = 0 does
/// nothing. The order of the sum depends on count alone.
template <class Arch = DefaultArch>
void softmax_row(const float* x, Index count, float factor, float* y) {
  using B = Batch<Arch>;
  if (count == 0) return;
  const float inverse = 1.f / exp_lines<Arch>(x, 16, count, factor, y);
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  for (Index i = 0; i < whole; i += lanes<Arch>) (B::load_unaligned(y + i) * B(inverse)).store_unaligned(y + i);
  if (const Index rest = count - whole)
    store_first<Arch>(load_first<Arch>(y + whole, rest, 0.f) * B(inverse), y + whole, rest);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
