/// The attention core of one head: softmax(q k^T * factor) v, a block of query rows at a time.
#pragma once

#include <moevit/simd/attention_operands.hpp>
#include <moevit/simd/gemm.hpp>
#include <moevit/simd/softmax.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Most queries that are scored together: two tiles of rows, since some kernels multiply two at a time.
inline constexpr Index attention_rows = 32;

/// Floats of scratch that attention_head needs: packed keys and values, tiles of queries and of scores, row scales.
constexpr Index attention_scratch(Index tokens, Index width) {
  return attention_operand_size(width, tokens) + attention_operand_size(tokens, width) +
         attention_rows * (tiled_row_bytes(width) + tiled_row_bytes(tokens)) / 4 + attention_rows;
}

/// Floats from a row of biases of scores to the next: whole lines, as products write them.
constexpr Index score_bias_stride(Index tokens) { return round_up(tokens, 16); }

/// Query rows and the keys and values they attend to: rows `stride` floats apart, one head's columns.
struct AttentionHead {
  const float* query = nullptr;  ///< queries x width
  Index queries = 0;
  Index query_stride = 0;
  const float* key = nullptr;    ///< tokens x width
  const float* value = nullptr;  ///< tokens x width
  Index tokens = 0;
  Index stride = 0;
  Index width = 0;
  float factor = 1.f;  ///< usually 1 / sqrt(width)
  /// Multiplies bfloat16 weights: both products are computed so. Null: in floats.
  const TileKernel* kernel = nullptr;
  /// Added to the scores before the factor, queries x score_bias_stride(tokens), zeros behind the tokens; null:
  /// nothing.
  const float* bias = nullptr;
};

namespace detail {

/// Replaces scores by exp(factor * (score - largest)), row by row, and leaves the inverse sums.
template <class Arch>
void exp_scores(const RowTiles& scores, float factor, float* inverse_sums) {
  const TileList tiles = scores.tiles();
  for (Index number = 0; number < tiles.count(); ++number) {
    const RowTile tile = tiles[number];
    for (Index row = 0; row < tile.rows; ++row) {
      const auto score = reinterpret_cast<float*>(tile.row_data(row));
      inverse_sums[tile.first_row + row] =
          1.f / exp_lines<Arch>(score, tile.line_step() / 4, scores.width, factor, score);
    }
  }
}

}  // namespace detail

/// out[queries x width] = softmax(factor * (q k^T + bias)) v. `scratch` has attention_scratch(tokens, width) floats on
/// a cache line. A row of the result depends on its query and all keys and values only, not on how many queries there
/// are.
///
/// A tile of queries (or two) goes all the way while its scores lie in the L1 cache: scores, exp(factor * (score -
/// largest)) in place, product with the values; the division by the sum waits for the epilogue.
template <class Arch = DefaultArch>
void attention_head(const AttentionHead& head, float* scratch, float* out, Index out_stride) {
  const Index operand = attention_operand_size(head.width, head.tokens);
  float* value_room = scratch + operand;
  const PackedView keys =
      pack_keys<Arch>(head.key, head.stride, head.tokens, head.width, head.kernel, scratch, value_room);
  const PackedView values =
      pack_values<Arch>(head.value, head.stride, head.tokens, head.width, head.kernel, value_room);
  const auto query_room = reinterpret_cast<std::byte*>(value_room + attention_operand_size(head.tokens, head.width));
  const auto score_room = query_room + attention_rows * tiled_row_bytes(head.width);
  const auto inverse_sums = reinterpret_cast<float*>(score_room + attention_rows * tiled_row_bytes(head.tokens));
  const TileKernel& kernel = head.kernel ? *head.kernel : float_kernel<Arch>;
  const Index most = kernel.most_rows * (kernel.multiply_two ? 2 : 1), blocks = ceil_div(head.queries, most);
  for (Index block = 0; block < blocks; ++block) {
    const Index first = head.queries * block / blocks, count = head.queries * (block + 1) / blocks - first;
    const RowTiles queries =
        tile_rows<Arch>(count, head.query + first * head.query_stride, head.query_stride, keys, query_room);
    const RowTiles scores = empty_tiles<Arch>(count, values, score_room);
    const Index bias_stride = score_bias_stride(head.tokens);
    const float* bias = head.bias ? head.bias + first * bias_stride : nullptr;
    gemm<Arch>(queries, keys, {.residual = bias, .residual_stride = bias_stride}, TilesOut{scores});
    detail::exp_scores<Arch>(scores, head.factor, inverse_sums);
    convert_in_place<Arch>(scores);
    gemm<Arch>(scores, values, {.row_scale = inverse_sums}, RowsOut{out + first * out_stride, out_stride});
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
