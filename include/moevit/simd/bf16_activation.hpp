/// Activations of values that are rounded to bfloat16 next: the hidden layer of an MLP in reduced precision.
#pragma once

#include <moevit/simd/activation.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

#if defined(__AVX512F__) && defined(__AVX512DQ__)
namespace detail {

/// 2^x within 8e-5 of its size, which may be 0 or infinity. NaN gives NaN.
MOEVIT_ALWAYS_INLINE __m512 coarse_exp2(__m512 x) {
  const __m512 f = _mm512_maskz_reduce_ps(all_lanes, x, 0);  // x minus the nearest integer; 0 of infinities
  __m512 power = _mm512_fmadd_ps(f, _mm512_set1_ps(0.0551716691f), _mm512_set1_ps(0.242611122f));
  power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(0.693260985f));
  power = _mm512_fmadd_ps(power, f, _mm512_set1_ps(0.999928074f));
  return _mm512_maskz_scalef_ps(all_lanes, power, _mm512_sub_ps(x, f));
}

/// x / (1 + 2^(x (linear + cubic x^2))).
MOEVIT_ALWAYS_INLINE __m512 coarse_logistic_unit(__m512 x, float linear, float cubic) {
  const __m512 slope = cubic == 0.f
                           ? _mm512_set1_ps(linear)
                           : _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(cubic), _mm512_set1_ps(linear));
  const __m512 power = coarse_exp2(_mm512_mul_ps(x, slope));
  return _mm512_mul_ps(x, _mm512_maskz_rcp14_ps(all_lanes, _mm512_add_ps(_mm512_set1_ps(1.f), power)));
}

}  // namespace detail
#endif

/// As activate(), but with AVX-512 for half of the time and only within 3e-4 relative to max(1, |x|)
/// (tests/simd/activation_test.cpp measures it), where rounding to bfloat16 moves a value by up to 2e-3. gelu_erf has
/// the form of gelu_tanh, with factors that were fitted to it.
template <Activation activation, class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> activate_for_bf16(const Batch<Arch>& x) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  if constexpr (lanes<Arch> == 16) {
    if constexpr (activation == Activation::gelu_tanh)
      return detail::coarse_logistic_unit(x, -log2_e * detail::gelu_linear, -log2_e * detail::gelu_cubic);
    else if constexpr (activation == Activation::gelu_erf)
      return detail::coarse_logistic_unit(x, -2.30591882f, -0.10141137f);
    else if constexpr (activation == Activation::gelu_quick)
      return detail::coarse_logistic_unit(x, -detail::gelu_slope, 0.f);
  }
#endif
  return activate<activation, Arch>(x);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
