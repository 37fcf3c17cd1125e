/// Keys and values of one attention head as the right operands of its two products, in bfloat16.
#pragma once

#include <moevit/simd/convert_rows.hpp>
#include <moevit/simd/pack_reduced.hpp>
#include <moevit/simd/tile_kernel.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// 32-bit units that packed keys (width x tokens) or values (tokens x width) take, and at least what floats take.
constexpr Index attention_operand_size(Index rows, Index cols) {
  return std::max(packed_size(rows, cols), packed_size(rows, cols, WeightFormat::bfloat16));
}

namespace detail {

inline PackedView bf16_view(const float* units, Index rows, Index cols, const TileKernel& kernel) {
  return {.data = units,
          .rows = rows,
          .cols = cols,
          .panel = panel_width(cols),
          .format = WeightFormat::bfloat16,
          .kernel = &kernel};
}

/// The transpose of tokens x width floats as bfloat16 panels. A row in bfloat16 is a row of units, pairs of neighbours,
/// so these are transposed as floats would be. `room` has tokens * column_units(width) units.
template <class Arch>
PackedView pack_transposed_bf16(const float* source, Index stride, Index width, Index tokens, const TileKernel& kernel,
                                float* target, float* room) {
  const Index units = column_units(WeightFormat::bfloat16, width);
  const PutRow put_row = put_bf16_row_of<Arch>(kernel.put_row);
  for (Index token = 0; token < tokens; ++token)
    put_row({.data = reinterpret_cast<const std::byte*>(source + token * stride)}, width,
            reinterpret_cast<std::byte*>(room + token * units), line_bytes);
  pack_transposed(room, units, units, tokens, target);
  return bf16_view(target, width, tokens, kernel);
}

/// One row of units: columns of the rows `even` and `odd` (null: zeros) side by side.
template <class Arch>
void put_bf16_pairs(const float* even, const float* odd, Index width, Index panel, float* target) {
  using I = Ints<Arch>;
  const auto target_bits = reinterpret_cast<std::int32_t*>(target);
  Index col = 0;
  for (; col + lanes<Arch> <= width; col += lanes<Arch>) {
    const I upper = odd ? load_bits<Arch>(odd + col) : I(0);
    bf16_units<Arch>(load_bits<Arch>(even + col), upper).store_aligned(target_bits + col);
  }
  for (; col < panel; ++col) {
    const std::uint32_t low = col < width ? bf16_bits(even[col]) : 0u;
    const std::uint32_t high = col < width && odd ? bf16_bits(odd[col]) : 0u;
    target[col] = std::bit_cast<float>(low | high << 16);
  }
}

/// tokens x width floats as bfloat16 panels.
template <class Arch>
PackedView pack_rows_bf16(const float* source, Index stride, Index tokens, Index width, const TileKernel& kernel,
                          float* target) {
  const Index panel = panel_width(width), units = column_units(WeightFormat::bfloat16, tokens);
  float* out = target;
  for (Index first = 0; first < width; first += panel)
    for (Index unit = 0; unit < units; ++unit, out += panel) {
      const Index token = 2 * unit;
      const float* even = source + token * stride + first;
      if (token < tokens)
        put_bf16_pairs<Arch>(even, token + 1 < tokens ? even + stride : nullptr, std::min(panel, width - first), panel,
                             out);
      else
        std::fill_n(out, panel, 0.f);
    }
  return bf16_view(target, tokens, width, kernel);
}

}  // namespace detail

/// The keys of a head, tokens x width, as W of queries W = scores. `kernel` takes bfloat16. `target` and `room` have
/// attention_operand_size(width, tokens) and (tokens, width) units on cache lines.
template <class Arch>
PackedView pack_keys(const float* keys, Index stride, Index tokens, Index width, const TileKernel& kernel,
                     float* target, float* room) {
  return detail::pack_transposed_bf16<Arch>(keys, stride, width, tokens, kernel, target, room);
}

/// The values of a head, tokens x width, as W of weights W = output.
template <class Arch>
PackedView pack_values(const float* values, Index stride, Index tokens, Index width, const TileKernel& kernel,
                       float* target) {
  return detail::pack_rows_bf16<Arch>(values, stride, tokens, width, kernel, target);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
