/// Activation functions on batches.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/simd/exp.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// The activation of one batch of floats. Finite for every finite x; NaN gives NaN, +inf +inf, and -inf NaN or
/// -inf (relu: 0).
/// Largest error against float64, relative to max(1, |x|): 3e-7 (measured by tests/simd/activation_test.cpp).
template <Activation activation, class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> activate(const Batch<Arch>& x) {
  using B = Batch<Arch>;
  if constexpr (activation == Activation::gelu_tanh) {
    // 0.5 x (1 + tanh u) = x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3)
    const B minus_two_u = x * fma<Arch>(x * x, B(-2.f * 0.7978845608f * 0.044715f), B(-2.f * 0.7978845608f));
    return quotient<Arch>(x, B(1.f) + exp<Arch>(minus_two_u));
  } else if constexpr (activation == Activation::gelu_erf) {
    return B(0.5f) * x * (B(1.f) + xsimd::erf(x * B(0.70710678118f)));
  } else if constexpr (activation == Activation::gelu_quick) {
    return quotient<Arch>(x, B(1.f) + exp<Arch>(x * B(-1.702f)));
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
