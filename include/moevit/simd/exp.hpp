/// Powers of two, which softmax and the activations make their exponentials of: exp(x) = 2^(x log2(e)), where the
/// factor joins another one.
#pragma once

#include <moevit/simd/simd.hpp>

#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

inline constexpr float log2_e = 1.4426950409f;

namespace detail {

/// 2^f on |f| <= 1/2, a polynomial with ripples of equal height.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp2_of_fraction(const Batch<Arch>& f) {
  using B = Batch<Arch>;
  B power = fma<Arch>(f, B(0.0013276472f), B(0.00967554133f));
  power = fma<Arch>(power, f, B(0.0555071327f));
  power = fma<Arch>(power, f, B(0.240221197f));
  power = fma<Arch>(power, f, B(0.693146967f));
  return fma<Arch>(power, f, B(1.f));
}

#if defined(__AVX512F__)
/// 2^x for the lanes of `mask`, 0 in the others, with the bits of exp2_in_range(): AVX-512 rounds and scales by a power
/// of two in one instruction each, which takes three quarters of the time.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp2_of_16(__mmask16 mask, const Batch<Arch>& x) {
  const Batch<Arch> n = _mm512_maskz_roundscale_ps(all_lanes, x, 0);
  return _mm512_maskz_scalef_ps(mask, exp2_of_fraction<Arch>(x - n), n);
}
#endif

/// 2^x for -127 <= x <= 127, and NaN. x = n + f: n is rounded by adding 1.5 * 2^23, which leaves it in the low bits of
/// the sum, where a shift makes an exponent of it (and 0 of -127).
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp2_in_range(const Batch<Arch>& x) {
  using B = Batch<Arch>;
  using Integers = xsimd::batch<std::int32_t, Arch>;
  const B rounding(12582912.f), sum = x + rounding;
  const Integers scale = (bits_of<Arch>(sum) << 23) + Integers(0x3f800000);
  return rounded<Arch>(exp2_of_fraction<Arch>(x - (sum - rounding)) * floats_of<Arch>(scale));
}

}  // namespace detail

/// 2^x for x <= 0 or NaN, exactly 0 below -126.5. Largest relative error above that 3e-7 (tests/simd/exp_test.cpp
/// measures it). NaN gives NaN.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> exp2_of_negative(const Batch<Arch>& x) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16)
    return detail::exp2_of_16<Arch>(_mm512_cmp_ps_mask(x, Batch<Arch>(-126.5f), _CMP_NLT_UQ), x);
#endif
  return detail::exp2_in_range<Arch>(at_least<Arch>(x, -127.f));
}

/// 2^x within the same error, but 2^120 above 120 and 2^-120 below -120, as logistic functions need it.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> bounded_exp2(const Batch<Arch>& x) {
  const Batch<Arch> bounded = at_least<Arch>(at_most<Arch>(x, 120.f), -120.f);
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16) return detail::exp2_of_16<Arch>(all_lanes, bounded);
#endif
  return detail::exp2_in_range<Arch>(bounded);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
