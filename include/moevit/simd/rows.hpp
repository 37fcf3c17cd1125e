/// Row operations of dispatch and combine.
#pragma once

#include <moevit/simd/simd.hpp>

#include <bit>
#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

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
    fma<Arch>(factor, B::load_unaligned(x + i), B::load_unaligned(y + i)).store_unaligned(y + i);
  if (const Index rest = count - whole)
    store_first<Arch>(fma<Arch>(factor, load_first<Arch>(x + whole, rest, 0.f), load_first<Arch>(y + whole, rest, 0.f)),
                      y + whole, rest);
}

namespace detail {

/// `vectors` batches of add_weighted_rows at column `first`, or the `rest` < lanes floats there.
template <class Arch, int vectors, class Row, class Weight>
void add_weighted_columns(Index rows, Row row, Weight weight, const float* scale, Index first, Index rest, float* y) {
  using B = Batch<Arch>;
  const auto load = [&](const float* x, int v) {
    return rest ? load_first<Arch>(x + first, rest, 0.f) : B::load_unaligned(x + first + v * lanes<Arch>);
  };
  B sum[vectors];
  for (int v = 0; v < vectors; ++v) sum[v] = rounded<Arch>(B(weight(Index{0})) * load(row(Index{0}), v));
  for (Index r = 1; r < rows; ++r) {
    const B factor(weight(r));
    const float* x = row(r);
    for (int v = 0; v < vectors; ++v) sum[v] = fma<Arch>(factor, load(x, v), sum[v]);
  }
  for (int v = 0; v < vectors; ++v) {
    const B result = scale ? fma<Arch>(load(scale, v), sum[v], load(y, v)) : load(y, v) + sum[v];
    if (rest)
      store_first<Arch>(result, y + first, rest);
    else
      result.store_unaligned(y + first + v * lanes<Arch>);
  }
}

}  // namespace detail

/// y += scale * (weight(0) * row(0) + weight(1) * row(1) + ...) over `count` floats; `scale` may be null. row(r) gives
/// a pointer, weight(r) a float, for `rows` >= 1 rows. The sum begins with a product, goes on in rising order with one
/// fused multiply-add per row in registers, and is then added to y, with another one where there is a scale.
template <class Arch = DefaultArch, class Row, class Weight>
void add_weighted_rows(Index rows, Row row, Weight weight, const float* scale, Index count, float* y) {
  constexpr int vectors = 4;
  Index col = 0;
  for (; col + vectors * lanes<Arch> <= count; col += vectors * lanes<Arch>)
    detail::add_weighted_columns<Arch, vectors>(rows, row, weight, scale, col, 0, y);
  for (; col + lanes<Arch> <= count; col += lanes<Arch>)
    detail::add_weighted_columns<Arch, 1>(rows, row, weight, scale, col, 0, y);
  if (col < count) detail::add_weighted_columns<Arch, 1>(rows, row, weight, scale, col, count - col, y);
}

/// Asks for `count` floats before they are needed.
inline void prefetch_row(const float* x, Index count) {
  constexpr Index line = static_cast<Index>(cache_line_bytes / sizeof(float));
  for (Index i = 0; i < count; i += line) __builtin_prefetch(x + i);
}
/// The same if they are few: in longer rows the processor's own prefetching finds its way, and is only disturbed
/// (measured with rows of 384).
inline void prefetch_short_row(const float* x, Index count) {
  constexpr Index most = static_cast<Index>(8 * cache_line_bytes / sizeof(float));
  if (count <= most) prefetch_row(x, count);
}

/// Whether none of `count` floats is infinite or NaN.
template <class Arch = DefaultArch>
bool all_finite(const float* x, Index count) {
  using B = Batch<Arch>;
  const Index whole = count / lanes<Arch> * lanes<Arch>;
  B poison(0.f);  // 0 * x is 0 or NaN, and NaN stays
  for (Index i = 0; i < whole; i += lanes<Arch>) poison = fma<Arch>(B::load_unaligned(x + i), B(0.f), poison);
  float rest = reduce_add<Arch>(poison);
  for (Index i = whole; i < count; ++i) rest += 0.f * x[i];
  return rest == 0.f;
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
