/// Products of int8 and of bfloat16 numbers with the dot products of AVX-512: VNNI and BF16.
///
/// These kernels are for machines that have more than what the program is compiled for, so they are functions with a
/// target attribute, of intrinsics, outside the template of tile_kernel.hpp.
#pragma once

#include <moevit/simd/int8_widening.hpp>

#if defined(__x86_64__)

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

// An attribute cannot depend on a template's parameter, so it names both extensions. Each kernel runs where the machine
// has the one whose intrinsic it calls; compilers have no use of their own for the other one in such a loop.
#define MOEVIT_DOT_TARGET gnu::target("avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")

/// Four unsigned bytes times four signed ones per lane (vpdpbusd, which does not saturate).
struct VnniDot {
  using Sum = __m512i;
  [[MOEVIT_DOT_TARGET]] static Sum start(const TileCall&, Index, Index) { return _mm512_setzero_si512(); }
  [[MOEVIT_DOT_TARGET]] static Sum add(Sum sum, __m512i x, __m512i w) { return _mm512_dpbusd_epi32(sum, x, w); }
  [[MOEVIT_DOT_TARGET]] static void finish(const TileCall& call, Index row, Index vector, Sum sum) {
    _mm512_store_si512(sum_place<16>(call, row, vector), sum);
  }
};

/// Two bfloat16 numbers times two per lane (vdpbf16ps): sums are floats, denormals are taken for zero.
struct Bf16Dot {
  using Sum = __m512;
  [[MOEVIT_DOT_TARGET]] static Sum start(const TileCall& call, Index row, Index vector) {
    return call.start ? _mm512_load_ps(call.start + row * call.columns + vector * 16) : _mm512_setzero_ps();
  }
  [[MOEVIT_DOT_TARGET]] static Sum add(Sum sum, __m512i x, __m512i w) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);  // a cast of its own kind: the bits stay
  }
  [[MOEVIT_DOT_TARGET]] static void finish(const TileCall& call, Index row, Index vector, Sum sum) {
    const Index col = vector * 16;
    if (call.bias) sum = _mm512_add_ps(sum, _mm512_loadu_ps(call.bias + col));
    if (call.row_scale) sum = _mm512_mul_ps(sum, _mm512_set1_ps(call.row_scale[row]));
    if (call.residual) sum = _mm512_add_ps(sum, _mm512_loadu_ps(call.residual + row * call.residual_stride + col));
    _mm512_storeu_ps(call.out + row * call.out_stride + vector * call.out_line, sum);
  }
};

/// Twice 16 floats to a line of bfloat16 numbers.
[[MOEVIT_DOT_TARGET]] inline void convert_bf16_line(const float* lower, const float* upper, std::byte* line) {
  _mm512_storeu_si512(line, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(upper), _mm512_loadu_ps(lower)));
}

/// put_bf16_row() with the machine's own conversion, which takes denormals for zero.
[[MOEVIT_DOT_TARGET]] inline void convert_bf16_row(FloatLines source, Index width, std::byte* target, Index step) {
  const Index whole = width / 32, rest = width % 32;
  for (Index line = 0; line < whole; ++line, target += step)
    convert_bf16_line(source.line(2 * line), source.line(2 * line + 1), target);
  if (rest == 0) return;
  alignas(64) float last[32] = {};
  source.copy(2 * whole, rest, last);
  convert_bf16_line(last, last + 16, target);
}

/// multiply_one_tile of tile_kernel.hpp with a dot product per unit.
template <class Dot, int rows, int vectors>
[[MOEVIT_DOT_TARGET]] void multiply_one_dot_tile(TileCall& call) {
  constexpr Index units_of_line = line_bytes / 4;
  typename Dot::Sum sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[r][v] = Dot::start(call, r, v);
  const std::byte *x = call.x, *weights = call.weights;
  const Index weights_step = call.panel * 4;
  Ahead ahead = call.ahead;
  for (Index left = call.units; left > 0; left -= units_of_line, x += rows * line_bytes) {
    const std::byte* unit = x;
    ask_ahead(ahead);
    for (Index step = std::min(units_of_line, left); step > 0; --step, unit += 4, weights += weights_step) {
      __m512i w[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) w[v] = _mm512_load_si512(weights + v * line_bytes);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const __m512i factor = _mm512_set1_epi32(static_cast<int>(load_unit(unit + r * line_bytes)));
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v) sum[r][v] = Dot::add(sum[r][v], factor, w[v]);
      }
    }
  }
  call.ahead = ahead;
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) Dot::finish(call, r, v, sum[r][v]);
}

/// The tiles of a call, one after the other.
template <class Dot, int rows, int vectors>
void multiply_dot_tile(const TileCall& first) {
  TileCall call = first;
  for (Index left = call.tiles; left > 0; --left, go_to_next_tile(call))
    multiply_one_dot_tile<Dot, rows, vectors>(call);
}

inline constexpr int dot_rows = 14;

/// multiply_dot_tile for 1, 2, ... dot_rows rows.
template <class Dot, int vectors>
inline constexpr auto dot_heights = []<int... r>(std::integer_sequence<int, r...>) {
  return std::array<MultiplyTile, sizeof...(r)>{&multiply_dot_tile<Dot, r + 1, vectors>...};
}
(std::make_integer_sequence<int, dot_rows>{});

template <class Dot>
void multiply_any_dot_tile(const TileCall& call) {
  const auto& heights = call.columns == 16 ? dot_heights<Dot, 1> : dot_heights<Dot, 2>;
  heights[static_cast<std::size_t>(call.rows - 1)](call);
}

#undef MOEVIT_DOT_TARGET

}  // namespace detail

/// int8 with AVX512_VNNI.
inline constexpr TileKernel int8_vnni_kernel{.name = "int8/vnni512",
                                             .weights = WeightFormat::int8,
                                             .rows = RowFormat::int8,
                                             .most_rows = detail::dot_rows,
                                             .columns = 32,
                                             .lanes = 16,
                                             .multiply = &detail::multiply_any_dot_tile<detail::VnniDot>,
                                             .sums_only = true};

/// bfloat16 rows and weights with AVX512_BF16.
inline constexpr TileKernel bf16_dot_kernel{.name = "bf16/avx512",
                                            .weights = WeightFormat::bfloat16,
                                            .rows = RowFormat::bfloat16,
                                            .most_rows = detail::dot_rows,
                                            .columns = 32,
                                            .lanes = 16,
                                            .multiply = &detail::multiply_any_dot_tile<detail::Bf16Dot>,
                                            .put_row = &detail::convert_bf16_row,
                                            .goes_on = true};

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET

#endif  // __x86_64__
