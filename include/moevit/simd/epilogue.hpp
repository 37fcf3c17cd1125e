/// What happens to the sums of a product on their way from registers to memory.
#pragma once

#include <moevit/simd/bf16_activation.hpp>
#include <moevit/simd/row_tiles.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// A product of two factors of a low rank.
struct LowRank {
  Index rank = 0;
  const float* left = nullptr;   ///< rows of x times rank
  const float* right = nullptr;  ///< rank x columns of W, in panels as wide as those of W
};

/// y = residual + scale * activation(row_scale * (x W + left right + bias)). Null pointers leave a step out. Vectors
/// over columns are padded to whole panels.
struct Epilogue {
  const float* row_scale = nullptr;  ///< one per row of x
  const float* bias = nullptr;
  const Activation* activation = nullptr;
  const float* scale = nullptr;
  const float* residual = nullptr;  ///< rows x cols; may be y itself
  Index residual_stride = 0;
  LowRank factors = {};  ///< only with kernels of float rows

  /// For a product of the columns from `first` on, a multiple of a panel: where a product is cut into panels.
  Epilogue from_column(Index first) const {
    Epilogue result = *this;
    for (const float** vector : {&result.bias, &result.scale, &result.residual})
      if (*vector) *vector += first;
    result.factors.right += first * factors.rank;
    return result;
  }
};

/// Walks down the rows of a column of the result.
struct RowWriter {
  float* data = nullptr;
  Index step = 0;  ///< to the next row

  void advance() { data += step; }
};

/// Rows of floats, `stride` apart, as the result of a product.
struct RowsOut {
  static constexpr bool is_padded = false;
  float* data = nullptr;
  Index stride = 0;

  bool is_rounded_to_bf16() const { return false; }
  RowWriter writer(Index row, Index, Index col) const { return {data + row * stride + col, stride}; }
  Index line(Index) const { return 16; }
  Index tile_step(Index height) const { return height * stride; }
  RowsOut from_column(Index first) const { return {data + first, stride}; }
};

/// Tiled rows of floats, cut as those of the left operand are or in one tall tile, as the result of a product: the left
/// operand of the next one. Padding is written, too, up to a whole register, and a residual is read as far.
struct TilesOut {
  static constexpr bool is_padded = true;
  RowTiles tiles;
  Index first_column = 0;  ///< of the tiles that the product begins at: a multiple of 16

  bool is_rounded_to_bf16() const { return tiles.format == RowFormat::bfloat16; }
  RowWriter writer(Index row, Index height, Index col) const {
    col += first_column;
    std::byte* tile = tiles.data + row * row_step();
    return {reinterpret_cast<float*>(tile + col / 16 * line(height) * 4) + col % 16, line_bytes / 4};
  }
  /// Floats from one line of a row to its next in a tile of `height` rows.
  Index line(Index height) const { return (tiles.line_step > 0 ? tiles.line_step : height * line_bytes) / 4; }
  Index tile_step(Index height) const { return height * row_step() / 4; }
  TilesOut from_column(Index first) const { return {tiles, first_column + first}; }

 private:
  Index row_step() const { return tiles.line_step > 0 ? line_bytes : tiles.row_bytes; }
};

namespace detail {

/// Which part of a product a tile of sums is.
struct TilePlace {
  Index first_row = 0;
  Index rows = 0;
  Index first_col = 0;
  Index valid_cols = 0;  ///< those that the matrix has
  Index columns = 0;     ///< of the tile, padding included
};

/// Passes the columns [col, col + lanes) of all rows of a tile, which have their bias, through the rest. A column at a
/// time, so that the scale stays in a register and consecutive rows, which do not depend on each other, overlap.
template <class Arch, class Out, class Activate>
void finish_columns(const float* sums, const TilePlace& place, Index col, const Epilogue& epilogue, const Out& out,
                    Activate activate_batch) {
  using B = Batch<Arch>;
  const Index first = place.first_col + col, valid = place.valid_cols - col;
  const B scale = epilogue.scale ? B::load_unaligned(epilogue.scale + first) : B(1.f);
  const float* residual =
      epilogue.residual ? epilogue.residual + place.first_row * epilogue.residual_stride + first : nullptr;
  RowWriter target = out.writer(place.first_row, place.rows, first);
  for (Index row = 0; row < place.rows; ++row, sums += place.columns, target.advance()) {
    B value = B::load_aligned(sums + col);
    if (epilogue.row_scale) value *= B(epilogue.row_scale[place.first_row + row]);
    value = activate_batch(value);
    if (residual)
      value = fma<Arch>(value, scale, load_valid<Arch>(residual + row * epilogue.residual_stride, valid));
    else if (epilogue.scale)
      value *= scale;
    store_valid<Arch>(value, target.data, Out::is_padded ? lanes<Arch> : valid);
  }
}

/// Passes a tile of sums through the epilogue to `out`, while the sums lie in the L1 cache.
template <class Arch, class Out>
void finish_tile(const float* sums, const TilePlace& place, const Epilogue& epilogue, const Out& out) {
  const auto finish = [&](auto activate_batch) {
    for (Index col = 0; col < place.valid_cols; col += lanes<Arch>)
      finish_columns<Arch>(sums, place, col, epilogue, out, activate_batch);
  };
  if (!epilogue.activation) return finish([](const Batch<Arch>& value) { return value; });
  with_activation(*epilogue.activation, [&](auto activation) {
    // g++ 12 would call some of them, register by register: twice the time of a layer's activation.
    if (out.is_rounded_to_bf16())
      finish([](const Batch<Arch>& value) __attribute__((always_inline)) {
        return activate_for_bf16<decltype(activation)::value, Arch>(value);
      });
    else
      finish([](const Batch<Arch>& value)
                 __attribute__((always_inline)) { return activate<decltype(activation)::value, Arch>(value); });
  });
}

}  // namespace detail

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
