/// Derivatives of the activation functions.
#pragma once

#include <moevit/simd/activation.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// x bounded to where GELUs are not yet 0 or x: products with what is left of a logistic function would grow beyond.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> where_gelu_bends(const Batch<Arch>& x) {
  return at_least<Arch>(at_most<Arch>(x, 50.f), -50.f);
}

}  // namespace detail

/// activation(x) and d activation(x) / dx.
template <class Arch>
struct ValueAndSlope {
  Batch<Arch> value, slope;
};

/// Both of one batch, which share what takes time. NaN gives NaN. Largest error of the slope against float64: 3e-6, of
/// the value relative to max(1, |x|): 3e-7 (tests/simd/gradients_test.cpp).
template <Activation activation, class Arch>
MOEVIT_ALWAYS_INLINE ValueAndSlope<Arch> activate_with_slope(const Batch<Arch>& x) {
  using B = Batch<Arch>;
  const B one(1.f);
  if constexpr (activation == Activation::gelu_tanh) {
    // x s(v) with s the logistic function and v = 2u: s + x s (1 - s) v'
    const B near = detail::where_gelu_bends<Arch>(x);
    const B slope = fma<Arch>(near * near, B(3.f * detail::gelu_cubic), B(detail::gelu_linear));
    const B s = quotient<Arch>(one, one + bounded_exp2<Arch>(detail::gelu_tanh_exponent<Arch>(near)));
    return {x * s, fma<Arch>(s * (one - s), near * slope, s)};
  } else if constexpr (activation == Activation::gelu_erf) {
    const B density = B(0.3989422804f) * exp2_of_negative<Arch>(x * x * B(-0.5f * log2_e));
    const B s = detail::normal_distribution<Arch>(x);
    return {x * s, fma<Arch>(x, density, s)};
  } else if constexpr (activation == Activation::gelu_quick) {
    const B near = detail::where_gelu_bends<Arch>(x);
    const B s = quotient<Arch>(one, one + bounded_exp2<Arch>(near * B(-detail::gelu_slope)));
    return {x * s, fma<Arch>(s * (one - s), near * B(1.702f), s)};
  } else {
    return {activate<activation, Arch>(x), xsimd::select(x > B(0.f), one, x * B(0.f))};  // 0 at 0, as JAX has it
  }
}

/// y = activation(x) over `count` floats. y may be x.
template <class Arch = DefaultArch>
void activate_row(Activation activation, const float* x, Index count, float* y) {
  using B = Batch<Arch>;
  with_activation(activation, [&](auto kind) {
    constexpr Activation chosen = decltype(kind)::value;
    const Index whole = count / lanes<Arch> * lanes<Arch>;
    for (Index i = 0; i < whole; i += lanes<Arch>)
      activate<chosen, Arch>(B::load_unaligned(x + i)).store_unaligned(y + i);
    if (const Index rest = count - whole)
      store_first<Arch>(activate<chosen, Arch>(load_first<Arch>(x + whole, rest, 0.f)), y + whole, rest);
  });
}

/// dx = dy * activation'(x) over `count` floats. dx may be dy.
template <class Arch = DefaultArch>
void activation_gradient_row(Activation activation, const float* x, const float* dy, Index count, float* dx) {
  using B = Batch<Arch>;
  with_activation(activation, [&](auto kind) {
    constexpr Activation chosen = decltype(kind)::value;
    const Index whole = count / lanes<Arch> * lanes<Arch>;
    for (Index i = 0; i < whole; i += lanes<Arch>)
      (B::load_unaligned(dy + i) * activate_with_slope<chosen, Arch>(B::load_unaligned(x + i)).slope)
          .store_unaligned(dx + i);
    if (const Index rest = count - whole)
      store_first<Arch>(load_first<Arch>(dy + whole, rest, 0.f) *
                            activate_with_slope<chosen, Arch>(load_first<Arch>(x + whole, rest, 0.f)).slope,
                        dx + whole, rest);
  });
}

/// Both at once over `count` floats: x becomes activation(x), and d, the gradient of that, becomes the gradient of x.
template <class Arch = DefaultArch>
void activate_with_gradient_row(Activation activation, float* x, float* d, Index count) {
  using B = Batch<Arch>;
  with_activation(activation, [&](auto kind) {
    constexpr Activation chosen = decltype(kind)::value;
    const Index whole = count / lanes<Arch> * lanes<Arch>;
    for (Index i = 0; i < whole; i += lanes<Arch>) {
      const ValueAndSlope<Arch> active = activate_with_slope<chosen, Arch>(B::load_unaligned(x + i));
      active.value.store_unaligned(x + i);
      (B::load_unaligned(d + i) * active.slope).store_unaligned(d + i);
    }
    if (const Index rest = count - whole) {
      const ValueAndSlope<Arch> active = activate_with_slope<chosen, Arch>(load_first<Arch>(x + whole, rest, 0.f));
      store_first<Arch>(active.value, x + whole, rest);
      store_first<Arch>(load_first<Arch>(d + whole, rest, 0.f) * active.slope, d + whole, rest);
    }
  });
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
