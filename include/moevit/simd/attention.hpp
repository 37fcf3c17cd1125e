/// The attention core of one head: softmax(q k^T * factor) v, a block of query rows at a time.
#pragma once

#include <moevit/simd/attention_operands.hpp>
#include <moevit/simd/gemm.hpp>
#include <moevit/simd/softmax.hpp>
#include <moevit/simd/softmax_columns.hpp>
#include <moevit/simd/transposed_product.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Most queries that are scored together: two tiles of rows, since some kernels multiply two at a time, or two lines of
/// columns.
inline constexpr Index attention_rows = 32;

namespace detail {

/// Floats of scratch with scores in tiles of rows: packed keys and values, tiles of queries and of scores, row scales.
constexpr Index attention_rows_scratch(Index tokens, Index width) {
  return attention_operand_size(width, tokens) + attention_operand_size(tokens, width) +
         attention_rows * (tiled_row_bytes(width) + tiled_row_bytes(tokens)) / 4 + attention_rows;
}

/// The same with scores in columns: keys, values, queries, scores, their biases, inverse sums.
constexpr Index attention_columns_scratch(Index tokens, Index width) {
  return tall_size(tokens, width) + packed_size(tokens, width) + packed_size(width, attention_rows) +
         tall_size(tokens, attention_rows) + tokens * attention_rows + attention_rows;
}

}  // namespace detail

/// Floats of scratch that attention_head needs.
constexpr Index attention_scratch(Index tokens, Index width) {
  return std::max(detail::attention_rows_scratch(tokens, width), detail::attention_columns_scratch(tokens, width));
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
          1.f / exp_lines<Arch>(score, tile.line_step / 4, scores.width, factor, score);
    }
  }
}

/// attention_head() with one of the kernels that multiply bfloat16. A tile of queries (or two) goes all the way while
/// its scores lie in the L1 cache: scores, exp(factor * (score - largest)) in place, product with the values; the
/// division by the sum waits for the epilogue.
template <class Arch>
void attend_by_rows(const AttentionHead& head, float* scratch, float* out, Index out_stride) {
  const Index operand = attention_operand_size(head.width, head.tokens);
  float* value_room = scratch + operand;
  const PackedView keys =
      pack_keys<Arch>(head.key, head.stride, head.tokens, head.width, *head.kernel, scratch, value_room);
  const PackedView values =
      pack_values<Arch>(head.value, head.stride, head.tokens, head.width, *head.kernel, value_room);
  const auto query_room = reinterpret_cast<std::byte*>(value_room + attention_operand_size(head.tokens, head.width));
  const auto score_room = query_room + attention_rows * tiled_row_bytes(head.width);
  const auto inverse_sums = reinterpret_cast<float*>(score_room + attention_rows * tiled_row_bytes(head.tokens));
  const TileKernel& kernel = *head.kernel;
  const Index most = kernel.most_rows * (kernel.multiply_two ? 2 : 1), blocks = ceil_div(head.queries, most);
  for (Index block = 0; block < blocks; ++block) {
    const Index first = head.queries * block / blocks, count = head.queries * (block + 1) / blocks - first;
    const RowTiles queries =
        simd::tile_rows<Arch>(count, head.query + first * head.query_stride, head.query_stride, keys, query_room);
    const RowTiles scores = empty_tiles<Arch>(count, values, score_room);
    const Index bias_stride = score_bias_stride(head.tokens);
    const float* bias = head.bias ? head.bias + first * bias_stride : nullptr;
    gemm<Arch>(queries, keys, {.residual = bias, .residual_stride = bias_stride}, TilesOut{scores});
    exp_scores<Arch>(scores, head.factor, inverse_sums);
    convert_in_place<Arch>(scores);
    gemm<Arch>(scores, values, {.row_scale = inverse_sums}, RowsOut{out + first * out_stride, out_stride});
  }
}

/// What attend_columns() needs of a head, packed.
struct AttentionOperands {
  RowTiles keys;      ///< tokens x width, tall
  PackedView values;  ///< tokens x width
  float* scratch = nullptr;
};

/// `count` <= attention_rows queries from `first` on. Scores are computed as k q^T, so that softmax goes down columns
/// and their product with the values is a transposed one.
template <class Arch>
void attend_columns(const AttentionHead& head, const AttentionOperands& operands, Index first, Index count, float* out,
                    Index out_stride) {
  float* const score_room = operands.scratch + packed_size(head.width, attention_rows);
  float* const bias = score_room + tall_size(head.tokens, attention_rows);
  float* const inverse_sums = bias + head.tokens * attention_rows;
  const PackedView queries =
      pack_transposed(head.query + first * head.query_stride, head.query_stride, head.width, count, operands.scratch);
  const RowTiles scores = tall_tile<Arch>(head.tokens, count, score_room);
  Epilogue epilogue;
  if (head.bias) {
    const Index bias_stride = score_bias_stride(head.tokens);
    transpose(head.bias + first * bias_stride, bias_stride, head.tokens, count, bias, attention_rows);
    epilogue.residual = bias, epilogue.residual_stride = attention_rows;
  }
  gemm<Arch>(operands.keys, queries, epilogue, TilesOut{scores});
  for (Index col = 0; col < count; col += 16) {
    const Index columns = std::min<Index>(16, count - col);
    float* line = line_of(scores, col / 16);
    exp_columns<Arch>(line, head.tokens, columns, head.factor, inverse_sums);
    const TransposedOut target{out + col * out_stride, out_stride, operands.values.panel, true, inverse_sums};
    add_transposed_product<Arch>(line, 16, 0, columns, operands.values, target);
  }
}

}  // namespace detail

/// out[queries x width] = softmax(factor * (q k^T + bias)) v. `scratch` has attention_scratch(tokens, width) floats on
/// a cache line. A row of the result depends on its query and all keys and values only, not on how many queries there
/// are. Some queries go all the way while their scores lie in a near cache.
template <class Arch = DefaultArch>
void attention_head(const AttentionHead& head, float* scratch, float* out, Index out_stride) {
  if (head.kernel) return detail::attend_by_rows<Arch>(head, scratch, out, out_stride);
  if (head.tokens == 0) return;
  const RowTiles keys = tall_tile<Arch>(head.tokens, head.width, scratch);
  fill_tiles<Arch>(keys, [&](Index row) { return head.key + row * head.stride; });
  float* const value_room = scratch + tall_size(head.tokens, head.width);
  const PackedView values = pack<Arch>(head.value, head.stride, head.tokens, head.width, value_room);
  const detail::AttentionOperands operands{keys, values, value_room + packed_size(head.tokens, head.width)};
  for (Index first = 0; first < head.queries; first += attention_rows)
    detail::attend_columns<Arch>(head, operands, first, std::min(attention_rows, head.queries - first),
                                 out + first * out_stride, out_stride);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
