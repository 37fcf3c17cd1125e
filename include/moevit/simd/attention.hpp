/// The attention core of one head: softmax(q k^T * factor) v, a block of query rows at a time.
#pragma once

#include <moevit/simd/gemm.hpp>
#include <moevit/simd/softmax.hpp>

namespace moevit::simd {

/// Most queries that are scored together: the rows of a tile.
inline constexpr Index attention_rows = 16;

/// Floats of scratch that attention_head needs: packed keys and values, a tile of queries, one of scores, row scales.
constexpr Index attention_scratch(Index tokens, Index width) {
  return packed_size(width, tokens) + packed_size(tokens, width) +
         attention_rows * (tiled_row_bytes(width) + tiled_row_bytes(tokens)) / 4 + attention_rows;
}

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
};

/// out[queries x width] = softmax(factor * q k^T) v. `scratch` has attention_scratch(tokens, width) floats on a cache
/// line. A row of the result depends on its query and all keys and values only, not on how many queries there are.
///
/// A tile of queries goes all the way while its scores lie in the L1 cache: scores, exp(factor * (score - largest)) in
/// place, product with the values; the division by the sum waits for the epilogue.
template <class Arch = DefaultArch>
void attention_head(const AttentionHead& head, float* scratch, float* out, Index out_stride) {
  const PackedView keys = pack_transposed(head.key, head.stride, head.width, head.tokens, scratch);
  scratch += packed_size(head.width, head.tokens);
  const PackedView values = pack<Arch>(head.value, head.stride, head.tokens, head.width, scratch);
  scratch += packed_size(head.tokens, head.width);
  const auto query_room = reinterpret_cast<std::byte*>(scratch);
  const auto score_room = query_room + attention_rows * tiled_row_bytes(head.width);
  const auto inverse_sums = reinterpret_cast<float*>(score_room + attention_rows * tiled_row_bytes(head.tokens));
  const Index most = float_kernel<Arch>.most_rows, blocks = ceil_div(head.queries, most);
  for (Index block = 0; block < blocks; ++block) {
    const Index first = head.queries * block / blocks, count = head.queries * (block + 1) / blocks - first;
    const RowTiles queries =
        tile_rows<Arch>(count, head.query + first * head.query_stride, head.query_stride, keys, query_room);
    const RowTiles scores = empty_tiles<Arch>(count, values, score_room);
    gemm<Arch>(queries, keys, {}, TilesOut{scores});
    for (Index row = 0; row < count; ++row) {
      float* score = reinterpret_cast<float*>(scores.data + row * line_bytes);
      inverse_sums[row] = 1.f / exp_lines<Arch>(score, count * line_bytes / 4, head.tokens, head.factor);
    }
    gemm<Arch>(scores, values, {.row_scale = inverse_sums}, RowsOut{out + first * out_stride, out_stride});
  }
}

}  // namespace moevit::simd
