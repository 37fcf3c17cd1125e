/// y = x W + b with W in panels.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/core/workspace.hpp>
#include <moevit/layers/linear_gradient.hpp>
#include <moevit/layers/weight_matrix.hpp>
#include <moevit/simd/gemm.hpp>
#include <moevit/simd/rows.hpp>

namespace moevit {

/// Stands where a part of a layer or model is absent.
struct Nothing {};

/// Makes a row-major parameter of any shape.
template <class T>
BasicParameter<T> plain_parameter(std::string name, T* data, Shape shape, Role role) {
  const Index count = element_count(shape);
  return {std::move(name), std::move(shape), role, {data}, {.rows = 1, .cols = count, .first_column = 0, .panel = 0}};
}

/// Makes a parameter of `count` columns of a stored matrix, from `first` on.
template <class T, class Store>
BasicParameter<T> columns_parameter(std::string name, Store& store, Index first, Index count, Role role) {
  const ParameterLayout layout{
      .rows = store.rows(), .cols = count, .first_column = first, .panel = simd::panel_width(store.cols())};
  return {std::move(name), {store.rows(), count}, role, {store.floats()}, layout, {&store}};
}

/// A vector of `count` floats, padded with zeros to whole registers and panels.
inline AlignedBuffer<float> padded_vector(Index count) {
  return AlignedBuffer<float>(round_up(count, simd::panel_width(count)));
}

/// Bytes of tiles for `rows` rows of `width` elements, whatever their format.
constexpr Index tiles_bytes(Index rows, Index width) {
  return arena_bytes<std::byte>(rows * simd::tiled_row_bytes(width));
}

/// y = x W for a block of rows, on the calling thread: dx = dy W^T with a transposed kernel.
inline void multiply_rows(ConstMatrixView x, const simd::PackedView& w, MatrixView y, Arena& arena) {
  const Arena::Scope scope(arena);
  const simd::RowTiles tiles =
      simd::empty_tiles(x.rows(), w, arena.take<std::byte>(x.rows() * simd::tiled_row_bytes(w.rows)));
  simd::fill_tiles(tiles, [&](Index row) { return x.row_data(row); });
  simd::gemm(tiles, w, {}, simd::RowsOut{y.data(), y.stride()});
}

/// y = x W for all rows, on all workers.
inline void multiply_all_rows(ConstMatrixView x, const simd::PackedView& w, MatrixView y, Workspace& workspace) {
  constexpr Index block_rows = 56;
  workspace.parallel_rows(x.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
    multiply_rows(x.rows_of(first, count), w, y.rows_of(first, count), arena);
  });
}
/// y = x W^T for all rows, on all workers.
inline void multiply_by_transposed(const simd::PackedView& w, ConstMatrixView x, MatrixView y, Workspace& workspace) {
  const Arena::Scope scope(workspace.shared());
  multiply_all_rows(x, transposed_weights(w, workspace), y, workspace);
}

/// y += x W^T for all rows, on all workers.
inline void add_product_by_transposed(const simd::PackedView& w, ConstMatrixView x, MatrixView y,
                                      Workspace& workspace) {
  constexpr Index block_rows = 112;
  const Arena::Scope scope(workspace.shared());
  const simd::PackedView transposed = transposed_weights(w, workspace);
  workspace.parallel_rows(x.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
    const MatrixView part(arena.take<float>(count * y.cols()), count, y.cols());
    multiply_rows(x.rows_of(first, count), transposed, part, arena);
    for (Index row = 0; row < count; ++row)
      simd::add_scaled_row(1.f, part.row_data(row), y.cols(), y.row_data(first + row));
  });
}
/// Bytes that a worker needs for it.
constexpr Index added_product_bytes(Index rows, Index inputs, Index outputs) {
  const Index block = largest_block(rows, 112);
  return arena_bytes<float>(block * outputs) + tiles_bytes(block, inputs);
}

/// Tiles in scratch for rows that are to be multiplied with `w`.
inline simd::RowTiles take_tiles(Index rows, const simd::PackedView& w, Arena& arena) {
  return simd::empty_tiles(rows, w, arena.take<std::byte>(rows * simd::tiled_row_bytes(w.rows)));
}

/// A fully connected layer, inputs x outputs, input-major (y = x W + b). Every layer lists its parameters by
/// `each_parameter(layer, prefix, visit)`, which calls visit(BasicParameter) in a fixed order.
template <Index inputs, Index outputs, bool has_bias = true>
class Linear {
  static_assert(inputs > 0 && outputs > 0, "Linear: widths must be positive");

 public:
  Linear() : kernel_(inputs, outputs), bias_(has_bias ? padded_vector(outputs) : AlignedBuffer<float>()) {}

  simd::PackedView kernel() const { return kernel_.view(); }
  /// See WeightMatrix::operand_kernel().
  const simd::TileKernel* operand_kernel() const { return kernel_.operand_kernel(); }
  const float* bias() const { return has_bias ? bias_.data() : nullptr; }

  /// Bytes of scratch for `rows` rows that are not tiled yet.
  static constexpr Index scratch_bytes(Index rows) { return tiles_bytes(rows, inputs); }
  /// Room for `rows` input rows, to be filled by the caller.
  simd::RowTiles take_input(Index rows, Arena& arena) const { return take_tiles(rows, kernel(), arena); }

  /// y = epilogue(x W + b) for tiled rows, on the calling thread; the epilogue's own bias is replaced. `y` is
  /// simd::RowsOut or simd::TilesOut.
  template <class Out>
  void forward(const simd::RowTiles& x, const Out& y, simd::Epilogue epilogue = {}) const {
    epilogue.bias = bias();
    simd::gemm(x, kernel(), epilogue, y);
  }
  /// The same for a block of rows.
  void forward(ConstMatrixView x, MatrixView y, Arena& arena, const simd::Epilogue& epilogue = {}) const {
    const Arena::Scope scope(arena);
    const simd::RowTiles tiles = take_input(x.rows(), arena);
    simd::fill_tiles(tiles, [&](Index row) { return x.row_data(row); });
    forward(tiles, simd::RowsOut{y.data(), y.stride()}, epilogue);
  }

  /// The gradient that this object holds, to be added to. Only float32 weights have one.
  LinearGradient gradient() { return {kernel_.floats(), has_bias ? bias_.data() : nullptr, inputs, outputs}; }
  /// Bytes of scratch for the transposed kernel.
  static constexpr Index transposed_bytes = moevit::transposed_bytes(inputs, outputs);

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, Role role, const ParameterVisitor<Self>& visit) {
    visit(columns(self, join_name(prefix, "kernel"), 0, outputs, role));
    if constexpr (has_bias) visit(bias_columns(self, join_name(prefix, "bias"), 0, outputs, role));
  }

  /// `count` columns of the kernel as a parameter of its own, shape {inputs, count}.
  template <class Self>
  static BasicParameter<ParameterValue<Self>> columns(Self& self, std::string name, Index first, Index count,
                                                      Role role) {
    return columns_parameter<ParameterValue<Self>>(std::move(name), self.kernel_, first, count, role);
  }
  template <class Self>
  static BasicParameter<ParameterValue<Self>> bias_columns(Self& self, std::string name, Index first, Index count,
                                                           Role role) {
    return plain_parameter<ParameterValue<Self>>(std::move(name), self.bias_.data() + first, {count}, role);
  }

 private:
  WeightMatrix kernel_;
  AlignedBuffer<float> bias_;
};

}  // namespace moevit
