/// The attention core of one head: softmax(q k^T * factor) v, a block of query rows at a time.
#pragma once

#include <moevit/simd/gemm.hpp>
#include <moevit/simd/softmax.hpp>

namespace moevit::simd {

/// Queries that are scored together; scores of one block stay in the L2 cache.
inline constexpr Index attention_rows = 56;

/// Floats of scratch that attention_head needs.
template <class Arch = DefaultArch>
constexpr Index attention_scratch(Index tokens, Index width) {
  return packed_size<Arch>(width, tokens) + packed_size<Arch>(tokens, width) +
         attention_rows * round_up(tokens, lanes<Arch>);
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
template <class Arch = DefaultArch>
void attention_head(const AttentionHead& head, float* scratch, float* out, Index out_stride) {
  const PackedView keys = pack_transposed<Arch>(head.key, head.stride, head.width, head.tokens, scratch);
  scratch += packed_size<Arch>(head.width, head.tokens);
  const PackedView values = pack<Arch>(head.value, head.stride, head.tokens, head.width, scratch);
  float* scores = scratch + packed_size<Arch>(head.tokens, head.width);
  const Index score_stride = round_up(head.tokens, lanes<Arch>);
  for (Index first = 0; first < head.queries; first += attention_rows) {
    const Index count = std::min(attention_rows, head.queries - first);
    gemm<Arch>(count, head.query + first * head.query_stride, head.query_stride, keys, {}, scores, score_stride);
    for (Index row = 0; row < count; ++row)
      softmax_row<Arch>(scores + row * score_stride, head.tokens, head.factor, scores + row * score_stride);
    gemm<Arch>(count, scores, score_stride, values, {}, out + first * out_stride, out_stride);
  }
}

}  // namespace moevit::simd
