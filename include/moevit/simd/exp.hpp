/// The exponential function that softmax and the activations share.
#pragma once

#include <moevit/simd/simd.hpp>

#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// exp(x) for -88 <= x <= 88, and NaN. x = n ln 2 + f: n is rounded by adding 1.5 * 2^23, which leaves it in the low
/// bits of the sum, where a shift makes an exponent of it; exp(f) is a polynomial on |f| <= ln 2 / 2 with ripples of
/// equal height.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> bounded_exp(const Batch<Arch>& x) {
  using B = Batch<Arch>;
  using Integers = xsimd::batch<std::int32_t, Arch>;
  const B rounding(12582912.f);
  const B sum = fma<Arch>(x, B(1.44269504f), rounding);
  const B n = sum - rounding;
  const B f = fma<Arch>(n, B(2.12194440e-4f), fma<Arch>(n, B(-0.693359375f), x));  // ln 2 in two parts
  B power = fma<Arch>(f, B(0.001383683761f), B(0.008374822326f));
  power = fma<Arch>(power, f, B(0.04166822508f));
  power = fma<Arch>(power, f, B(0.16666419804f));
  power = fma<Arch>(power, f, B(0.49999991059f));
  power = fma<Arch>(power, f, B(1.f));
  power = fma<Arch>(power, f, B(1.f));
  const Integers scale = (bits_of<Arch>(sum) << 23) + Integers(0x3f800000);  // n = -127 gives 0
  return rounded<Arch>(power * floats_of<Arch>(scale));
}

}  // namespace detail

/// exp(x). Largest relative error 2e-7 for -87 <= x <= 87 (tests/simd/exp_test.cpp measures it); exactly 0 below -88,
/// where the result would be denormal; above 87 it stays at exp(87) = 6e37. NaN gives NaN.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp(const Batch<Arch>& x) {
  return detail::bounded_exp<Arch>(at_least<Arch>(at_most<Arch>(x, 87.f), -88.f));
}

/// The same for x <= 0 or NaN.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp_of_negative(const Batch<Arch>& x) {
  return detail::bounded_exp<Arch>(at_least<Arch>(x, -88.f));
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
