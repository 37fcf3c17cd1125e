/// The two-layer MLP of a block, which is also an expert.
#pragma once

#include <moevit/layers/linear.hpp>

#include <algorithm>

namespace moevit {

/// Rows that a worker takes through an MLP at a time: input, hidden and output rows together fill about half a
/// megabyte, so the weights are read once per block while the rows stay in the L2 cache.
constexpr Index mlp_block_rows(Index dim, Index hidden) {
  constexpr Index budget = 512 * 1024 / static_cast<Index>(sizeof(float));
  return std::clamp(budget / (2 * dim + hidden) / 14 * 14, Index{28}, Index{112});
}

/// y = activation(x W1 + b1) W2 + b2, widths dim -> hidden -> dim.
template <Index dim_, Index hidden_, Activation activation = Activation::gelu_tanh, bool has_bias = true>
class Mlp {
 public:
  static constexpr Index dim = dim_;
  static constexpr Index hidden = hidden_;
  static constexpr Index block_rows = mlp_block_rows(dim, hidden);
  /// Multiply-adds of one row.
  static constexpr Index multiply_adds = 2 * dim * hidden;

  /// Bytes of scratch that `rows` rows take: tiles of the input and of the hidden layer.
  static constexpr Index scratch_bytes(Index rows) { return tiles_bytes(rows, dim) + tiles_bytes(rows, hidden); }
  /// Room for `rows` input rows, to be filled by the caller.
  simd::RowTiles take_input(Index rows, Arena& arena) const { return hidden_layer_.take_input(rows, arena); }

  /// y = mlp(x) through `epilogue` (residual, scale), for a block of tiled rows on the calling thread.
  void forward(const simd::RowTiles& x, MatrixView y, Arena& arena, const simd::Epilogue& epilogue = {}) const {
    const Arena::Scope scope(arena);
    static constexpr Activation inner = activation;
    const simd::RowTiles middle = output_layer_.take_input(x.rows, arena);
    hidden_layer_.forward(x, simd::TilesOut{middle}, {.activation = &inner});
    simd::convert_in_place(middle);
    output_layer_.forward(middle, simd::RowsOut{y.data(), y.stride()}, epilogue);
  }
  /// The same for rows that are not tiled yet. y may be the residual, not x.
  void forward(ConstMatrixView x, MatrixView y, Arena& arena, const simd::Epilogue& epilogue = {}) const {
    const Arena::Scope scope(arena);
    const simd::RowTiles tiles = take_input(x.rows(), arena);
    simd::fill_tiles(tiles, [&](Index row) { return x.row_data(row); });
    forward(tiles, y, arena, epilogue);
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Role role, Visit&& visit) {
    using Hidden = Linear<dim, hidden, has_bias>;
    using Output = Linear<hidden, dim, has_bias>;
    Hidden::each_parameter(self.hidden_layer_, join_name(prefix, "hidden"), role, visit);
    Output::each_parameter(self.output_layer_, join_name(prefix, "output"), role, visit);
  }

 private:
  Linear<dim, hidden, has_bias> hidden_layer_;
  Linear<hidden, dim, has_bias> output_layer_;
};

}  // namespace moevit
