/// Row operations of dispatch and combine.
#pragma once

#include <moevit/simd/simd.hpp>

#include <bit>
#include <cstdint>

namespace moevit::simd {

/// x rounded to the nearest bfloat16 (halves to even) and widened again; NaN stays NaN.
inline float round_to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return x;
  return std::bit_cast<float>((bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u);
}

/// Rounds `count` floats to bfloat16 in place.
inline void round_row_to_bf16(float* x, Index count) {
  for (Index i = 0; i < count; ++i) x[i] = round_to_bf16(x[i]);
}

/// y += weight * x over `count` floats.
template <class Arch = DefaultArch>
void add_scaled_row(float weight, const float* x, Index count, float* y) {
  using B = Batch<Arch>;
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  const B factor(weight);
  for (Index i = 0; i < whole; i += lanes<Arch>)
    xsimd::fma(factor, B::load_unaligned(x + i), B::load_unaligned(y + i)).store_unaligned(y + i);
  if (const Index rest = count - whole)
    store_first<Arch>(
        xsimd::fma(factor, load_first<Arch>(x + whole, rest, 0.f), load_first<Arch>(y + whole, rest, 0.f)), y + whole,
        rest);
}

}  // namespace moevit::simd
