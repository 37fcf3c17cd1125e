/// Activation functions on batches.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/simd/exp.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

inline constexpr float gelu_slope = 1.702f * log2_e;  ///< of gelu_quick, for powers of two
/// gelu_tanh is x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3): 2u = gelu_linear x + gelu_cubic x^3.
inline constexpr float gelu_linear = 2.f * 0.7978845608f, gelu_cubic = gelu_linear * 0.044715f;

/// -2u log2(e).
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> gelu_tanh_exponent(const Batch<Arch>& x) {
  return x * fma<Arch>(x * x, Batch<Arch>(-log2_e * gelu_cubic), Batch<Arch>(-log2_e * gelu_linear));
}

/// The distribution function of the normal distribution: 1/2 + x P(x^2) / Q(x^2) up to |x| = 5.2, below that 0, above
/// it 1 within rounding. P / Q is fitted for the smallest error of x times this relative to max(1, |x|), which is
/// 3e-9 before rounding. NaN gives NaN.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> normal_distribution(const Batch<Arch>& given) {
  using B = Batch<Arch>;
  constexpr float end = 5.2f;
  const B x = at_least<Arch>(at_most<Arch>(given, end), -end), square = x * x;
  B p = fma<Arch>(square, B(2.46254585e-8f), B(6.41929225e-6f)),
    q = fma<Arch>(square, B(1.25667878e-6f), B(7.09667813e-5f));
  p = fma<Arch>(p, square, B(1.58288012e-4f)), q = fma<Arch>(q, square, B(1.82511458e-3f));
  p = fma<Arch>(p, square, B(4.61703986e-3f)), q = fma<Arch>(q, square, B(2.80055878e-2f));
  p = fma<Arch>(p, square, B(3.26824623e-2f)), q = fma<Arch>(q, square, B(0.2485889f));
  p = fma<Arch>(p, square, B(0.398942235f)), q = fma<Arch>(q, square, B(1.f));
  return xsimd::select(given < B(-end), B(0.f), B(0.5f) + rounded<Arch>(quotient<Arch>(x * p, q)));
}

}  // namespace detail

/// The activation of one batch of floats. Finite for every finite x; NaN gives NaN, +inf +inf, and -inf NaN or
/// -inf (relu: 0).
/// Largest error against float64, relative to max(1, |x|): 3e-7 (measured by tests/simd/activation_test.cpp).
template <Activation activation, class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> activate(const Batch<Arch>& x) {
  using B = Batch<Arch>;
  if constexpr (activation == Activation::gelu_tanh) {
    return quotient<Arch>(x, B(1.f) + bounded_exp2<Arch>(detail::gelu_tanh_exponent<Arch>(x)));
  } else if constexpr (activation == Activation::gelu_erf) {
    return x * detail::normal_distribution<Arch>(x);
  } else if constexpr (activation == Activation::gelu_quick) {
    return quotient<Arch>(x, B(1.f) + bounded_exp2<Arch>(x * B(-detail::gelu_slope)));
  } else {
    return xsimd::select(x < B(0.f), B(0.f), x);  // max would lose NaN, depending on the version of xsimd
  }
}

/// Calls visit with the activation as a compile-time constant.
template <class Visit>
decltype(auto) with_activation(Activation activation, Visit visit) {
  switch (activation) {
    case Activation::gelu_erf:
      return visit(std::integral_constant<Activation, Activation::gelu_erf>{});
    case Activation::gelu_quick:
      return visit(std::integral_constant<Activation, Activation::gelu_quick>{});
    case Activation::relu:
      return visit(std::integral_constant<Activation, Activation::relu>{});
    case Activation::gelu_tanh:
      break;
  }
  return visit(std::integral_constant<Activation, Activation::gelu_tanh>{});
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
