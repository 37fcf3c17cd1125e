/// The two-layer MLP of a block, which is also an expert.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/layers/masks.hpp>
#include <moevit/simd/activation_gradient.hpp>

#include <algorithm>

namespace moevit {

/// Rows that a worker takes through an MLP at a time, at least 28 and at most `most`: input, hidden and output rows
/// together fill about so many bytes, while the weights are read once per block.
constexpr Index mlp_block_rows(Index dim, Index hidden, Index bytes, Index most) {
  const Index floats = bytes / static_cast<Index>(sizeof(float));
  return std::clamp(floats / (2 * dim + hidden) / 14 * 14, Index{28}, most);
}

/// y = activation(x W1 + b1) W2 + b2, widths dim -> hidden -> dim; without `has_bias` there is no b1, without
/// `has_output_bias` no b2.
template <Index dim_, Index hidden_, Activation activation = Activation::gelu_tanh, bool has_bias = true,
          bool has_output_bias = has_bias>
class Mlp {
 public:
  static constexpr Index dim = dim_;
  static constexpr Index hidden = hidden_;
  /// A megabyte, most of which stays in the L2 cache. Half of it took longer, as weights were read twice as often.
  static constexpr Index block_rows = mlp_block_rows(dim, hidden, 1024 * 1024, 112);
  /// The same for experts, whose weights come from further away than those of one MLP for all rows.
  static constexpr Index expert_block_rows = mlp_block_rows(dim, hidden, 1536 * 1024, 168);
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
    forward_rows(
        x.rows(), [&](Index row) { return x.row_data(row); }, y, arena, epilogue);
  }
  /// The same for rows wherever they lie: row_of(row) points to `dim` floats, which are read before the next call.
  template <class RowOf>
  void forward_rows(Index rows, RowOf row_of, MatrixView y, Arena& arena, const simd::Epilogue& epilogue = {}) const {
    const Arena::Scope scope(arena);
    const simd::RowTiles tiles = take_input(rows, arena);
    simd::fill_tiles(tiles, row_of);
    forward(tiles, y, arena, epilogue);
  }

  /// Floats of one row that backward() needs: the hidden layer before its activation.
  static constexpr Index saved_width = hidden;

  /// As forward(), leaving the hidden layer before its activation in `saved` (rows x hidden). `mask` is of the hidden
  /// layer behind its activation.
  void forward_saved(const simd::RowTiles& x, MatrixView saved, MatrixView y, Arena& arena,
                     const simd::Epilogue& epilogue = {}, const ElementMask& mask = {}) const {
    hidden_layer_.forward(x, simd::RowsOut{saved.data(), saved.stride()});
    finish_saved(saved, y, arena, epilogue, mask);
  }
  void forward_saved(ConstMatrixView x, MatrixView saved, MatrixView y, Arena& arena,
                     const ElementMask& mask = {}) const {
    const Arena::Scope scope(arena);
    const simd::RowTiles tiles = take_input(x.rows(), arena);
    simd::fill_tiles(tiles, [&](Index row) { return x.row_data(row); });
    forward_saved(tiles, saved, y, arena, {}, mask);
  }
  /// Bytes of scratch of forward_saved() for tiled rows.
  static constexpr Index saved_scratch_bytes(Index rows) {
    return arena_bytes<float>(hidden) + tiles_bytes(rows, hidden);
  }

  /// y = mlp of saved hidden layers (rows x hidden, before the activation).
  void rows_from_saved(ConstMatrixView saved, MatrixView y, Workspace& workspace, const ElementMask& mask = {}) const {
    workspace.parallel_rows(saved.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
      finish_saved(saved.rows_of(first, count), y.rows_of(first, count), arena, {}, mask.from(first));
    });
  }

  /// W1 and W2 transposed.
  struct Transposed {
    simd::PackedView hidden_layer, output_layer;
  };
  static constexpr Index transposed_bytes =
      Linear<dim, hidden, has_bias>::transposed_bytes + Linear<hidden, dim, has_output_bias>::transposed_bytes;
  /// `room`: an Arena, or a Workspace, whose shared scratch is filled by all workers.
  template <class Room>
  Transposed transposed(Room& room) const {
    return {transposed_weights(hidden_layer_.kernel(), room), transposed_weights(output_layer_.kernel(), room)};
  }

  /// Gradients of a block of rows: from dy, d_hidden (rows x hidden) and dx; `saved` becomes the hidden layer behind
  /// its activation and mask, which the gradient of W2 is made of.
  static void backward_rows(const Transposed& weights, ConstMatrixView dy, MatrixView saved, MatrixView d_hidden,
                            MatrixView dx, Arena& arena, const ElementMask& mask = {}) {
    multiply_rows(dy, weights.output_layer, d_hidden, arena);
    for (Index row = 0; row < dy.rows(); ++row) {
      float *x = saved.row_data(row), *d = d_hidden.row_data(row);
      simd::activate_with_gradient_row(activation, x, d, hidden);
      mask.apply(row, d, hidden);
      mask.apply(row, x, hidden);
    }
    multiply_rows(d_hidden, weights.hidden_layer, dx, arena);
  }
  /// Adds a share of the gradients of the weights to this object, on the calling thread.
  void add_gradient(ConstMatrixView x, ConstMatrixView activated, ConstMatrixView d_hidden, ConstMatrixView dy,
                    Share share, Arena& arena) {
    add_weight_gradient(x, d_hidden, hidden_layer_.gradient(), share, arena);
    add_weight_gradient(activated, dy, output_layer_.gradient(), share, arena);
  }
  /// All of them on all workers.
  void add_gradient(ConstMatrixView x, ConstMatrixView activated, ConstMatrixView d_hidden, ConstMatrixView dy,
                    Workspace& workspace) {
    const Index shares = workspace.workers();
    workspace.parallel(shares, [&](Index share, Arena& arena) {
      add_gradient(x, activated, d_hidden, dy, {share, shares}, arena);
    });
  }
  /// Bytes that a worker needs for blocks of `block` rows, and for the gradients of `rows` rows.
  static constexpr Index backward_worker_bytes(Index block, Index rows) {
    return std::max({tiles_bytes(block, dim), tiles_bytes(block, hidden), weight_gradient_bytes(rows)});
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, Role role, const ParameterVisitor<Self>& visit) {
    using Hidden = Linear<dim, hidden, has_bias>;
    using Output = Linear<hidden, dim, has_output_bias>;
    Hidden::each_parameter(self.hidden_layer_, join_name(prefix, "hidden"), role, visit);
    Output::each_parameter(self.output_layer_, join_name(prefix, "output"), role, visit);
  }

 private:
  void finish_saved(ConstMatrixView saved, MatrixView y, Arena& arena, const simd::Epilogue& epilogue,
                    const ElementMask& mask) const {
    const Arena::Scope scope(arena);
    float* row = arena.take<float>(hidden);
    const simd::RowTiles middle = output_layer_.take_input(saved.rows(), arena);
    simd::fill_tiles(middle, [&](Index number) {
      simd::activate_row(activation, saved.row_data(number), hidden, row);
      mask.apply(number, row, hidden);
      return row;
    });
    output_layer_.forward(middle, simd::RowsOut{y.data(), y.stride()}, epilogue);
  }

  Linear<dim, hidden, has_bias> hidden_layer_;
  Linear<hidden, dim, has_output_bias> output_layer_;
};

}  // namespace moevit
