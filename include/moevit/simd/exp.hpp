/// The exponential function that softmax and the activations share.
#pragma once

#include <moevit/simd/simd.hpp>

#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// A number is rounded to a whole one by adding this, 1.5 * 2^23, which leaves it in the low bits of the sum.
inline constexpr float rounding = 12582912.f;

/// power * 2^n for n from -127, which gives 0, to 127: `sum` is n + rounding.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> times_power_of_two(const Batch<Arch>& power, const Batch<Arch>& sum) {
  using Integers = xsimd::batch<std::int32_t, Arch>;
  const Integers scale = (bits_of<Arch>(sum) << 23) + Integers(0x3f800000);
  return rounded<Arch>(power * floats_of<Arch>(scale));
}

/// exp(x) for -88 <= x <= 88, and NaN. x = n ln 2 + f; exp(f) is a polynomial on |f| <= ln 2 / 2 with ripples of equal
/// height, 1e-7.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> bounded_exp(const Batch<Arch>& x) {
  using B = Batch<Arch>;
  const B sum = fma<Arch>(x, B(1.44269504f), B(rounding));
  const B n = sum - B(rounding);
  const B f = fma<Arch>(n, B(2.12194440e-4f), fma<Arch>(n, B(-0.693359375f), x));  // ln 2 in two parts
  B power = fma<Arch>(f, B(0.00831252486f), B(0.0418901132f));
  power = fma<Arch>(power, f, B(0.166671145f));
  power = fma<Arch>(power, f, B(0.499992318f));
  power = fma<Arch>(power, f, B(1.f));
  power = fma<Arch>(power, f, B(1.f));
  return times_power_of_two<Arch>(power, sum);
}

}  // namespace detail

/// exp(x). Largest relative error 2e-7 for -87 <= x <= 87 (tests/simd/exp_test.cpp measures it); exactly 0 below -88,
/// where the result would be denormal; above 87 it stays at exp(87) = 6e37. NaN gives NaN.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp(const Batch<Arch>& x) {
  return detail::bounded_exp<Arch>(at_least<Arch>(at_most<Arch>(x, 87.f), -88.f));
}

/// 2^x, for x beyond 120 2^120 and below -120 2^-120: what logistic functions need, in fewer steps than exp. Largest
/// relative error 3e-7. NaN gives NaN.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> bounded_exp2(const Batch<Arch>& x) {
  using B = Batch<Arch>;
  const B bounded = at_least<Arch>(at_most<Arch>(x, 120.f), -120.f);
  const B sum = bounded + B(detail::rounding);
  const B f = bounded - (sum - B(detail::rounding));
  B power = fma<Arch>(f, B(0.0013276472f), B(0.00967554133f));  // ripples as above
  power = fma<Arch>(power, f, B(0.0555071327f));
  power = fma<Arch>(power, f, B(0.240221197f));
  power = fma<Arch>(power, f, B(0.693146967f));
  power = fma<Arch>(power, f, B(1.f));
  return detail::times_power_of_two<Arch>(power, sum);
}

/// exp(x) for x <= 0 or NaN, as above.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp_of_negative(const Batch<Arch>& x) {
  return detail::bounded_exp<Arch>(at_least<Arch>(x, -88.f));
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
