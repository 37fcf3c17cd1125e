/// Softmax of many rows at once, for rows as short as the gates of a router.
#pragma once

#include <moevit/simd/short_rows.hpp>
#include <moevit/simd/softmax.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Longest rows that are faster side by side: longer ones fill registers of their own, and save being transposed.
inline constexpr Index short_softmax_row = 32;

namespace detail {

/// Softmax of up to `lanes` rows of at most short_softmax_row floats, one row per lane.
template <class Arch, class From, class To>
void softmax_tile(From from, Index rows, Index count, To to) {
  using B = Batch<Arch>;
  alignas(cache_line_bytes) float tile[short_softmax_row * lanes<Arch>];
  load_columns<Arch>(from, rows, 0, count, tile);
  B top = B::load_aligned(tile);
  for (Index col = 1; col < count; ++col) top = xsimd::max(top, B::load_aligned(tile + col * lanes<Arch>));
  B sum(0.f);
  for (Index col = 0; col < count; ++col) {
    const B value = exp2_of_negative<Arch>((B::load_aligned(tile + col * lanes<Arch>) - top) * B(log2_e));
    value.store_aligned(tile + col * lanes<Arch>);
    sum += value;
  }
  const B inverse = B(1.f) / sum;
  for (Index col = 0; col < count; ++col)
    (B::load_aligned(tile + col * lanes<Arch>) * inverse).store_aligned(tile + col * lanes<Arch>);
  store_columns<Arch>(tile, count, rows, to);
}

}  // namespace detail

/// to(r) = softmax(from(r)) over `count` floats for each of `rows` rows; from(r) and to(r) give pointers and may be the
/// same. The error is that of softmax_row. -inf gives 0, NaN or +inf make the row NaN. The bits of a row depend on its
/// own values and on `count` alone: up to short_softmax_row floats are added up in rising order in one lane per row,
/// where a row of its own would use one or two registers and pay for reducing them; more go through softmax_row.
template <class Arch = DefaultArch, class From, class To>
void softmax_rows(From from, Index rows, Index count, To to) {
  if (count > short_softmax_row) {
    for (Index row = 0; row < rows; ++row) softmax_row<Arch>(from(row), count, 1.f, to(row));
    return;
  }
  if (count == 0) return;
  for (Index first = 0; first < rows; first += lanes<Arch>)
    detail::softmax_tile<Arch>([&](Index r) { return from(first + r); }, std::min(lanes<Arch>, rows - first), count,
                               [&](Index r) { return to(first + r); });
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
