/// int8 rows times int8 weights without instructions for it: by widening to 16 bits, or in plain C++.
///
/// All kernels for int8 give the same 32-bit sums, bit for bit: integers are exact in any order, as long as nothing
/// saturates. That rules out pmaddubsw, the obvious instruction: two products of up to 255 * 127 exceed its 16 bits.
#pragma once

#include <moevit/simd/tile_kernel.hpp>

#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// Four bytes of a row.
inline std::uint32_t load_unit(const std::byte* x) {
  std::uint32_t unit;
  std::memcpy(&unit, x, sizeof unit);
  return unit;
}

/// Where a register of plain sums goes.
template <Index width>
float* sum_place(const TileCall& call, Index row, Index vector) {
  return call.out + row * call.out_stride + vector * width;
}

/// A unit holds four consecutive k of a column. As many columns as a register has lanes, in plain C++.
template <class Arch>
struct PlainInt8Step {
  static constexpr Index x_units = 1;
  static constexpr int parts = 1;
  static constexpr Index width = lanes<Arch>;
  using Sum = std::array<std::int32_t, width>;
  using Weights = std::array<std::int8_t, 4 * width>;
  static constexpr bool subtracts_offset = false;

  static Sum start(const TileCall&, Index, Index) { return {}; }
  static Weights load(const std::byte* weights, int) {
    Weights w;
    std::memcpy(w.data(), weights, sizeof w);
    return w;
  }
  static void finish(const TileCall& call, Index row, Index vector, const Sum& sum) {
    std::memcpy(sum_place<width>(call, row, vector), sum.data(), sizeof sum);
  }
  template <int vectors>
  static void add(const std::byte* x, int, const Weights (&w)[vectors], Sum (&sum)[vectors]) {
    for (int v = 0; v < vectors; ++v)
      for (std::size_t i = 0; i < w[v].size(); ++i) sum[v][i / 4] += std::to_integer<std::int32_t>(x[i % 4]) * w[v][i];
  }
};

#if defined(__SSE2__)

/// What the step needs of a register of 128, 256 or 512 bits: pairs of 16-bit products and their sum (pmaddwd), and the
/// bytes 0 and 2, or 1 and 3, of each unit as 16-bit numbers.
struct Int8Register128 {
  using Register = __m128i;
  static Register broadcast(std::uint32_t unit) { return _mm_set1_epi32(static_cast<int>(unit)); }
  static Register signed_bytes(Register w, int part) { return _mm_srai_epi16(part == 0 ? _mm_slli_epi16(w, 8) : w, 8); }
  static Register unsigned_bytes(Register x, int part) {
    return part == 0 ? _mm_and_si128(x, _mm_set1_epi16(0xff)) : _mm_srli_epi16(x, 8);
  }
  static Register add_products(Register sum, Register x, Register w) {
    return _mm_add_epi32(sum, _mm_madd_epi16(x, w));
  }
};

#if defined(__AVX2__)
struct Int8Register256 {
  using Register = __m256i;
  static Register broadcast(std::uint32_t unit) { return _mm256_set1_epi32(static_cast<int>(unit)); }
  static Register signed_bytes(Register w, int part) {
    return _mm256_srai_epi16(part == 0 ? _mm256_slli_epi16(w, 8) : w, 8);
  }
  static Register unsigned_bytes(Register x, int part) {
    return part == 0 ? _mm256_and_si256(x, _mm256_set1_epi16(0xff)) : _mm256_srli_epi16(x, 8);
  }
  static Register add_products(Register sum, Register x, Register w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
  }
};
#endif

#if defined(__AVX512BW__)
struct Int8Register512 {
  using Register = __m512i;
  static Register broadcast(std::uint32_t unit) { return _mm512_set1_epi32(static_cast<int>(unit)); }
  static Register signed_bytes(Register w, int part) {
    return _mm512_srai_epi16(part == 0 ? _mm512_slli_epi16(w, 8) : w, 8);
  }
  static Register unsigned_bytes(Register x, int part) {
    return part == 0 ? _mm512_and_si512(x, _mm512_set1_epi16(0xff)) : _mm512_srli_epi16(x, 8);
  }
  static Register add_products(Register sum, Register x, Register w) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(x, w));
  }
};
#endif

/// The widest registers that the instruction set has and the flags allow integers in.
template <Index lanes>
struct Int8Registers {
  using Ops = Int8Register128;
};
#if defined(__AVX2__)
template <>
struct Int8Registers<8> {
  using Ops = Int8Register256;
};
template <>
struct Int8Registers<16> {
#if defined(__AVX512BW__)
  using Ops = Int8Register512;
#else
  using Ops = Int8Register256;
#endif
};
#endif

/// Bytes 0 and 2 of every unit first, then 1 and 3: no more registers hold weights than with floats.
template <class Arch>
struct WideningStep {
  using Ops = typename Int8Registers<lanes<Arch>>::Ops;
  using Sum = typename Ops::Register;
  using Weights = typename Ops::Register;
  static constexpr Index x_units = 1;
  static constexpr int parts = 2;
  static constexpr Index width = sizeof(Sum) / 4;
  static constexpr bool subtracts_offset = false;

  static Sum start(const TileCall&, Index, Index) { return Sum{}; }
  static Weights load(const std::byte* weights, int part) {
    return Ops::signed_bytes(*reinterpret_cast<const Weights*>(weights), part);
  }
  static void finish(const TileCall& call, Index row, Index vector, const Sum& sum) {
    *reinterpret_cast<Sum*>(sum_place<width>(call, row, vector)) = sum;
  }
  template <int vectors>
  static void add(const std::byte* x, int part, const Weights (&w)[vectors], Sum (&sum)[vectors]) {
    const Weights factor = Ops::unsigned_bytes(Ops::broadcast(load_unit(x)), part);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[v] = Ops::add_products(sum[v], factor, w[v]);
  }
};

#elif defined(__aarch64__)

/// What the two steps of NEON share. Its products are signed times signed, so 128 is taken from x on the way.
struct NeonInt8Step {
  using Sum = int32x4_t;
  using Weights = int8x16_t;
  static constexpr Index x_units = 1;
  static constexpr int parts = 1;
  static constexpr Index width = 4;
  static constexpr bool subtracts_offset = true;

  static Sum start(const TileCall&, Index, Index) { return vdupq_n_s32(0); }
  static Weights load(const std::byte* weights, int) { return vld1q_s8(reinterpret_cast<const std::int8_t*>(weights)); }
  static void finish(const TileCall& call, Index row, Index vector, const Sum& sum) {
    vst1q_s32(reinterpret_cast<std::int32_t*>(sum_place<width>(call, row, vector)), sum);
  }
  static Weights signed_unit(const std::byte* x) {
    return vreinterpretq_s8_u32(vdupq_n_u32(load_unit(x) ^ 0x80808080u));
  }
};

template <class Arch>
struct WideningStep : NeonInt8Step {
  template <int vectors>
  static void add(const std::byte* x, int, const Weights (&w)[vectors], Sum (&sum)[vectors]) {
    const Weights factor = signed_unit(x);
    for (int v = 0; v < vectors; ++v) {
      const int16x8_t low = vmull_s8(vget_low_s8(factor), vget_low_s8(w[v])), high = vmull_high_s8(factor, w[v]);
      sum[v] = vaddq_s32(sum[v], vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
    }
  }
};

// Where the compiler's flags do not allow the dot products of Armv8.2 to the whole program, g++ takes them as assembly
// (the registers are those that every aarch64 has); clang's assembler does not.
#if defined(__ARM_FEATURE_DOTPROD) || !defined(__clang__)
#define MOEVIT_HAS_DOTPROD_KERNEL 1

struct DotprodStep : NeonInt8Step {
  template <int vectors>
  static void add(const std::byte* x, int, const Weights (&w)[vectors], Sum (&sum)[vectors]) {
    const Weights factor = signed_unit(x);
    for (int v = 0; v < vectors; ++v)
#if defined(__ARM_FEATURE_DOTPROD)
      sum[v] = vdotq_s32(sum[v], w[v], factor);
#else
      asm(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum[v]) : "w"(w[v]), "w"(factor));
#endif
  }
};

#endif

#else

template <class Arch>
struct WideningStep : PlainInt8Step<Arch> {};

#endif

template <class Arch, class Step>
constexpr TileKernel int8_kernel_of(const char* name, Index most_rows) {
  static_assert(tile_vectors * Step::width >= lanes<Arch>);  // the sums go on in registers of floats
  return {.name = name,
          .weights = WeightFormat::int8,
          .rows = RowFormat::int8,
          .most_rows = most_rows,
          .columns = tile_vectors * Step::width,
          .lanes = std::max(Step::width, lanes<Arch>),
          .multiply = &multiply_any_tile<Arch, Step>,
          .sums_only = true,
          .subtracts_offset = Step::subtracts_offset};
}

}  // namespace detail

/// int8 by widening to 16 bits, on every instruction set that xsimd knows; in plain C++ elsewhere. The halves of units
/// take registers, too, so tiles are lower than for floats.
template <class Arch = DefaultArch>
inline constexpr TileKernel int8_widening_kernel =
    detail::int8_kernel_of<Arch, detail::WideningStep<Arch>>("int8/widening", std::min(8, detail::tile_rows<Arch>));

/// int8 in plain C++: what the others are compared with.
template <class Arch = DefaultArch>
inline constexpr TileKernel int8_plain_kernel =
    detail::int8_kernel_of<Arch, detail::PlainInt8Step<Arch>>("int8/plain", detail::tile_rows<Arch>);

#if defined(MOEVIT_HAS_DOTPROD_KERNEL)
/// int8 with sdot.
template <class Arch = DefaultArch>
inline constexpr TileKernel int8_dotprod_kernel =
    detail::int8_kernel_of<Arch, detail::DotprodStep>("int8/dotprod", detail::tile_rows<Arch>);
#endif

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
