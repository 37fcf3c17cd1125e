/// The only header that includes xsimd: batches, the default instruction set, and what differs between its versions.
#pragma once

#if defined(__FAST_MATH__)
#error "moevit: -ffast-math changes results and breaks the handling of infinities; compile without it"
#endif

#include <moevit/core/index.hpp>
#include <moevit/simd/instruction_set.hpp>

// g++ 12 takes the undefined registers of its own AVX-512 intrinsics for uninitialised variables (its bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <xsimd/xsimd.hpp>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

/// For functions of a few instructions in the innermost loops, which -O2 does not always inline.
#define MOEVIT_ALWAYS_INLINE [[gnu::always_inline]] inline

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// The instruction set that the compiler flags allow; every kernel is a template on it, so one binary can test several.
using DefaultArch = xsimd::default_arch;

template <class Arch>
using Batch = xsimd::batch<float, Arch>;

/// Floats per batch.
template <class Arch>
inline constexpr Index lanes = static_cast<Index>(Batch<Arch>::size);

/// Vector registers that the instruction set has.
#if defined(__aarch64__)
template <class Arch>
inline constexpr int register_count = 32;
#else
template <class Arch>
inline constexpr int register_count = lanes<Arch> == 16 ? 32 : 16;
#endif

/// Alignment of packed weights and tiles, in bytes.
inline constexpr std::size_t cache_line_bytes = 64;

/// The bits of floats as integers, and back.
template <class Arch>
xsimd::batch<std::int32_t, Arch> bits_of(const Batch<Arch>& value) {
#if XSIMD_VERSION_MAJOR >= 9
  return xsimd::bitwise_cast<std::int32_t>(value);
#else
  return xsimd::bitwise_cast<xsimd::batch<std::int32_t, Arch> >(value);
#endif
}
template <class Arch>
Batch<Arch> floats_of(const xsimd::batch<std::int32_t, Arch>& bits) {
#if XSIMD_VERSION_MAJOR >= 9
  return xsimd::bitwise_cast<float>(bits);
#else
  return xsimd::bitwise_cast<Batch<Arch> >(bits);
#endif
}

/// x * y + z, rounded once where the instruction set can. xsimd 8.1 has no such instruction for AVX-512: it multiplies
/// and adds, and whether the compiler makes one of the two depends on what it inlines, so the same function could give
/// other bits at another place.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> fma(const Batch<Arch>& x, const Batch<Arch>& y, const Batch<Arch>& z) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16) return _mm512_fmadd_ps(x, y, z);
#endif
  return xsimd::fma(x, y, z);
}
/// z - x * y, as above.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> fnma(const Batch<Arch>& x, const Batch<Arch>& y, const Batch<Arch>& z) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16) return _mm512_fnmadd_ps(x, y, z);
#endif
  return xsimd::fnma(x, y, z);
}

/// The same value, which the compiler does not know to be a product: it cannot be contracted with a sum it goes into.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> rounded(Batch<Arch> value) {
#if defined(__AVX512F__)
  asm("" : "+v"(value.data));
#elif defined(__x86_64__)
  asm("" : "+x"(value.data));
#elif defined(__aarch64__)
  asm("" : "+w"(value.data));
#endif
  return value;
}

/// x bounded below and above; NaN stays NaN. (Which operand of xsimd's min and max loses NaN depends on its version.)
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> at_least(const Batch<Arch>& x, float low) {
#if XSIMD_VERSION_MAJOR >= 9
  return xsimd::select(x < Batch<Arch>(low), Batch<Arch>(low), x);
#else
  return xsimd::max(Batch<Arch>(low), x);
#endif
}
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> at_most(const Batch<Arch>& x, float high) {
#if XSIMD_VERSION_MAJOR >= 9
  return xsimd::select(x > Batch<Arch>(high), Batch<Arch>(high), x);
#else
  return xsimd::min(Batch<Arch>(high), x);
#endif
}

/// x / y for 1e-37 <= |y| <= 1e37, within 2 units in the last place. With AVX-512 a division takes as long as ten
/// multiplications, an estimate and a Newton step three.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> quotient(const Batch<Arch>& x, const Batch<Arch>& y) {
  if constexpr (lanes<Arch> == 16) {
    const Batch<Arch> estimate = xsimd::reciprocal(y);
    return x * fma<Arch>(estimate, fnma<Arch>(y, estimate, Batch<Arch>(1.f)), estimate);
  } else {
    return x / y;
  }
}

/// Sum over the lanes, in a fixed order for one instruction set.
template <class Arch>
float reduce_add(const Batch<Arch>& value) {
#if XSIMD_VERSION_MAJOR >= 9
  return xsimd::reduce_add(value);
#else
  return xsimd::hadd(value);
#endif
}

#if defined(__x86_64__)
namespace detail {
inline float largest_of(__m128 value) {
  value = _mm_max_ps(value, _mm_movehl_ps(value, value));
  return _mm_cvtss_f32(_mm_max_ss(value, _mm_shuffle_ps(value, value, 1)));
}
#if defined(__AVX__)
inline float largest_of(__m256 value) {
  return largest_of(_mm_max_ps(_mm256_castps256_ps128(value), _mm256_extractf128_ps(value, 1)));
}
#endif
#if defined(__AVX512F__)
inline float largest_of(__m512 value) {  // g++ 12 warns of its own _mm512_castps512_ps256
  return largest_of(_mm256_max_ps(_mm512_extractf32x8_ps(value, 0), _mm512_extractf32x8_ps(value, 1)));
}
#endif
}  // namespace detail
#endif

/// Largest lane; which one it is with NaNs among them is not said.
template <class Arch>
float reduce_max(const Batch<Arch>& value) {
#if defined(__x86_64__)
  return detail::largest_of(value.data);
#elif defined(__aarch64__)
  return vmaxvq_f32(value.data);
#endif
}

/// The lane numbers 0, 1, 2, ...
template <class Arch>
Batch<Arch> lane_numbers() {
  alignas(64) std::array<float, Batch<Arch>::size> values;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  return Batch<Arch>::load_aligned(values.data());
}

#if defined(__AVX512F__)
/// For intrinsics that g++ 12 warns of without a mask, see above.
inline constexpr __mmask16 all_lanes = 0xffff;
/// The first `count` of 16 lanes.
inline __mmask16 first_of_16(Index count) { return static_cast<__mmask16>((1u << count) - 1u); }
#endif
#if defined(__AVX__)
/// All bits of the first `count` of 8 lanes.
inline __m256i first_of_8(Index count) {
  alignas(64) static constexpr std::array<std::int32_t, 16> ones{-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ones.data() + 8 - count));
}
#endif

/// `value` in the first `count` <= lanes lanes, `filler` in the others.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> keep_first(const Batch<Arch>& value, Index count, float filler) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16) return _mm512_mask_blend_ps(first_of_16(count), Batch<Arch>(filler), value);
#endif
  return xsimd::select(lane_numbers<Arch>() < Batch<Arch>(static_cast<float>(count)), value, Batch<Arch>(filler));
}

/// Loads `count` < lanes floats and fills the rest with `filler`; nothing beyond them is read.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> load_first(const float* source, Index count, float filler) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16) return _mm512_mask_loadu_ps(Batch<Arch>(filler), first_of_16(count), source);
#endif
#if defined(__AVX__)
  if constexpr (lanes<Arch> == 8) {
    const __m256i mask = first_of_8(count);
    return _mm256_blendv_ps(Batch<Arch>(filler), _mm256_maskload_ps(source, mask), _mm256_castsi256_ps(mask));
  }
#endif
  alignas(64) std::array<float, Batch<Arch>::size> values;
  values.fill(filler);
  std::copy_n(source, count, values.data());
  return Batch<Arch>::load_aligned(values.data());
}

/// Stores the first `count` < lanes floats; nothing beyond them is written.
template <class Arch>
MOEVIT_ALWAYS_INLINE void store_first(const Batch<Arch>& value, float* target, Index count) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16) return _mm512_mask_storeu_ps(target, first_of_16(count), value);
#endif
#if defined(__AVX__)
  if constexpr (lanes<Arch> == 8) {  // some processors take as long for a masked store as for forty others
    __m128 part = _mm256_castps256_ps128(value);
    if (count & 4) {
      _mm_storeu_ps(target, part);
      part = _mm256_extractf128_ps(value, 1);
    }
    target += count & 4;
    if (count & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(target), part);
      part = _mm_movehl_ps(part, part);
    }
    if (count & 1) _mm_store_ss(target + (count & 2), part);
    return;
  }
#endif
  alignas(64) std::array<float, Batch<Arch>::size> values;
  value.store_aligned(values.data());
  std::copy_n(values.data(), count, target);
}

/// A batch of a row of which `valid` floats are left, which may be more than lanes: zero where there are none.
template <class Arch>
MOEVIT_ALWAYS_INLINE Batch<Arch> load_valid(const float* source, Index valid) {
  return valid >= lanes<Arch> ? Batch<Arch>::load_unaligned(source) : load_first<Arch>(source, valid, 0.f);
}

/// Stores the lanes for which the row has floats left.
template <class Arch>
MOEVIT_ALWAYS_INLINE void store_valid(const Batch<Arch>& value, float* target, Index valid) {
  if (valid >= lanes<Arch>)
    value.store_unaligned(target);
  else
    store_first<Arch>(value, target, valid);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET

#if defined(MOEVIT_COMPILED)
#include <moevit/simd/compiled/forward.hpp>
#endif
