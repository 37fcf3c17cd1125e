/// Rows of floats to lines of bfloat16 or int8 numbers: what the left operand of a product in reduced precision is made
/// of. The same bits on every instruction set, but for kernels with a conversion of their own (TileKernel::put_row).
#pragma once

#include <moevit/simd/row_tiles.hpp>

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

template <class Arch>
using Ints = xsimd::batch<std::int32_t, Arch>;

#if defined(__SSE2__)
/// A register as registers of 128 bits.
template <class Arch>
struct SplitRegister {
  __m128i parts[lanes<Arch> / 4];
};
#endif

/// Stores the lower byte of each lane; lanes are 0 to 255.
template <class Arch>
MOEVIT_ALWAYS_INLINE void store_bytes(const Ints<Arch>& value, std::byte* target) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16)
    return _mm_storeu_si128(reinterpret_cast<__m128i*>(target), _mm512_maskz_cvtepi32_epi8(all_lanes, value));
#endif
#if defined(__SSE2__)
  for (const __m128i part : std::bit_cast<SplitRegister<Arch>>(value).parts) {
    const __m128i halves = _mm_packs_epi32(part, part);
    const int bytes = _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves));
    std::memcpy(target, &bytes, 4);
    target += 4;
  }
#else
  alignas(64) std::array<std::int32_t, Ints<Arch>::size> values;
  value.store_aligned(values.data());
  for (std::size_t i = 0; i < values.size(); ++i) target[i] = static_cast<std::byte>(values[i]);
#endif
}

/// Stores the lower half of each lane; lanes are -32768 to 32767.
template <class Arch>
MOEVIT_ALWAYS_INLINE void store_halves(const Ints<Arch>& value, std::byte* target) {
#if defined(__AVX512F__)
  if constexpr (lanes<Arch> == 16)
    return _mm256_storeu_si256(reinterpret_cast<__m256i*>(target), _mm512_maskz_cvtepi32_epi16(all_lanes, value));
#endif
#if defined(__SSE2__)
  for (const __m128i part : std::bit_cast<SplitRegister<Arch>>(value).parts) {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(target), _mm_packs_epi32(part, part));
    target += 8;
  }
#elif defined(__aarch64__)
  vst1_s16(reinterpret_cast<std::int16_t*>(target), vmovn_s32(value));
#else
  alignas(64) std::array<std::int32_t, Ints<Arch>::size> values;
  value.store_aligned(values.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto half = static_cast<std::int16_t>(values[i]);
    std::memcpy(target + 2 * i, &half, 2);
  }
#endif
}

template <class Arch>
Ints<Arch> load_bits(const float* source) {
  return Ints<Arch>::load_unaligned(reinterpret_cast<const std::int32_t*>(source));
}

/// The upper half of each float, rounded to the nearest, halves to even; a NaN stays one. As bf16_bits. (Selected as
/// floats: xsimd 8.1 cannot select integers with AVX-512BW where the compiler does not optimise.)
template <class Arch>
MOEVIT_ALWAYS_INLINE Ints<Arch> round_bits_to_bf16(const Ints<Arch>& bits) {
  using I = Ints<Arch>;
  const I upper = bits >> 16, rounded = (bits + I(0x7fff) + (upper & I(1))) >> 16;
  const Batch<Arch> x = floats_of<Arch>(bits);
  return bits_of<Arch>(xsimd::select(x != x, floats_of<Arch>(upper | I(0x40)), floats_of<Arch>(rounded)));
}

/// Units of two bfloat16 numbers: those of `even` in the lower halves, those of `odd` in the upper ones.
template <class Arch>
MOEVIT_ALWAYS_INLINE Ints<Arch> bf16_units(const Ints<Arch>& even, const Ints<Arch>& odd) {
  return (round_bits_to_bf16<Arch>(even) & Ints<Arch>(0xffff)) | round_bits_to_bf16<Arch>(odd) << 16;
}

/// 32 floats from line `first` of the source on to a line of bfloat16 numbers.
template <class Arch>
MOEVIT_ALWAYS_INLINE void put_bf16_line(FloatLines source, Index first, std::byte* target) {
  for (Index line = 0; line < 2; ++line) {
    const float* x = source.line(first + line);
#pragma GCC unroll 4
    for (Index i = 0; i < 16; i += lanes<Arch>, target += 2 * lanes<Arch>)
      store_halves<Arch>(round_bits_to_bf16<Arch>(load_bits<Arch>(x + i)), target);
  }
}

/// 64 floats, times `inverse`, rounded to the nearest, halves to even, plus 128, to a line of bytes.
template <class Arch>
MOEVIT_ALWAYS_INLINE void put_int8_line(FloatLines source, Index first, float inverse, std::byte* target) {
  using B = Batch<Arch>;
#pragma GCC unroll 4
  for (Index line = 0; line < 4; ++line) {
    const float* x = source.line(first + line);
#pragma GCC unroll 4
    for (Index i = 0; i < 16; i += lanes<Arch>, target += lanes<Arch>)
      store_bytes<Arch>(xsimd::nearbyint_as_int(B::load_unaligned(x + i) * B(inverse)) + Ints<Arch>(128), target);
  }
}

/// The bits of the largest size in a row: as integers they are in the order of the sizes, and NaN is above infinity.
template <class Arch>
std::int32_t largest_size_bits(FloatLines source, Index width) {
  using I = Ints<Arch>;
  I largest(0);
  const auto take = [&](const float* line) {
    for (Index i = 0; i < 16; i += lanes<Arch>)
      largest = xsimd::max(largest, load_bits<Arch>(line + i) & I(0x7fffffff));
  };
  const Index whole = width / 16;
  for (Index line = 0; line < whole; ++line) take(source.line(line));
  if (width % 16 != 0) {
    alignas(64) float rest[16] = {};
    source.copy(whole, width % 16, rest);
    take(rest);
  }
  alignas(64) std::array<std::int32_t, I::size> values;
  largest.store_aligned(values.data());
  return *std::max_element(values.begin(), values.end());
}

}  // namespace detail

/// Writes a row of `width` floats as bfloat16 numbers in lines `step` bytes apart: nearest, halves to even, denormals
/// kept, NaN stays NaN. The rest of the last line is zero. The target may be the source with the same step.
template <class Arch>
void put_bf16_row(FloatLines source, Index width, std::byte* target, Index step) {
  const Index whole = width / 32, rest = width % 32;
  for (Index line = 0; line < whole; ++line, target += step) detail::put_bf16_line<Arch>(source, 2 * line, target);
  if (rest == 0) return;
  alignas(64) float last[32] = {};
  source.copy(2 * whole, rest, last);
  detail::put_bf16_line<Arch>({.data = reinterpret_cast<const std::byte*>(last)}, 0, target);
}

/// Writes a row of `width` floats as int8 numbers with 128 added, in lines `step` bytes apart, and returns their scale:
/// the largest size / 127, so x = scale * (element - 128). Nearest, halves to even; the rest of the last line is 128. A
/// row with a NaN or an infinity gets NaN for a scale, so whatever is made of it is NaN; one without anything as large
/// as 2^-120 is taken for zero. The target may be the source with the same step.
template <class Arch>
float put_int8_row(FloatLines source, Index width, std::byte* target, Index step) {
  const auto largest = std::bit_cast<float>(detail::largest_size_bits<Arch>(source, width));
  const Index whole = width / 64, rest = width % 64;
  if (!(largest >= 0x1p-120f && largest <= std::numeric_limits<float>::max())) {
    for (Index line = 0; line < ceil_div(width, 64); ++line) std::memset(target + line * step, 128, line_bytes);
    return largest < 1.f ? 0.f : std::numeric_limits<float>::quiet_NaN();
  }
  const float inverse = 127.f / largest;
  for (Index line = 0; line < whole; ++line, target += step)
    detail::put_int8_line<Arch>(source, 4 * line, inverse, target);
  if (rest != 0) {
    alignas(64) float last[64] = {};
    source.copy(4 * whole, rest, last);
    detail::put_int8_line<Arch>({.data = reinterpret_cast<const std::byte*>(last)}, 0, inverse, target);
  }
  return largest / 127.f;
}

namespace detail {

/// What writes rows of bfloat16 numbers for a kernel whose own function for it, or null, is `own`.
template <class Arch>
PutRow put_bf16_row_of(PutRow own) {
  return own ? own : &put_bf16_row<Arch>;
}

/// Writes row `row` of a tile in the tiles' format, which is not float32.
template <class Arch>
void put_reduced_row(FloatLines source, const RowTiles& tiles, const RowTile& tile, Index row) {
  if (tiles.format == RowFormat::bfloat16)
    return put_bf16_row_of<Arch>(tiles.put_row)(source, tiles.width, tile.row_data(row), tile.line_step);
  const float scale = put_int8_row<Arch>(source, tiles.width, tile.row_data(row), tile.line_step);
  std::memcpy(tile.row_scale(row), &scale, sizeof scale);
}

}  // namespace detail

/// Turns tiles that were filled with floats into the format that they have, in place; nothing is to do for floats. A
/// line of the result only overwrites floats of its own row that have been read.
template <class Arch = DefaultArch>
void convert_in_place(const RowTiles& tiles) {
  if (tiles.format == RowFormat::float32) return;
  const TileList list = tiles.tiles();
  for (Index number = 0; number < list.count(); ++number) {
    const RowTile tile = list[number];
    for (Index row = 0; row < tile.rows; ++row)
      detail::put_reduced_row<Arch>({.data = tile.row_data(row), .step = tile.line_step}, tiles, tile, row);
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
