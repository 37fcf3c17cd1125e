/// y = epilogue(x W) with W in panels.
///
/// How it works: a tile of `rows` x one panel is summed in registers over all of k, in rising order with one
/// accumulator per output and fused multiply-adds. So an output depends only on its row of x and its column of W, never
/// on how many rows there are or how they are cut, which is what makes results the same for any batch and any thread
/// count. The tile then passes through the epilogue while it lies in the L1 cache and is written to y.
#pragma once

#include <moevit/simd/activation.hpp>
#include <moevit/simd/packed.hpp>

#include <array>
#include <utility>

namespace moevit::simd {

/// What happens to a product on its way out: y = residual + scale * activation(x W + bias). Null pointers leave a step
/// out. Vectors have one float per column and are padded to whole panels.
struct Epilogue {
  const float* bias = nullptr;
  const Activation* activation = nullptr;
  const float* scale = nullptr;
  const float* residual = nullptr;  ///< rows x cols; may be y itself
  Index residual_stride = 0;
};

namespace detail {

/// Rows of the largest register tile: as many accumulators as the registers hold beside the panel and one broadcast.
template <class Arch>
inline constexpr Index tile_rows = register_count<Arch> == 32 ? 14 : 6;

template <class Arch>
inline constexpr Index max_tile_floats = tile_rows<Arch> * 2 * lanes<Arch>;

/// tile[rows][vectors * lanes] = x[rows][k] times one panel.
template <class Arch, int rows, int vectors>
void multiply_tile(const float* x, Index stride, const float* panel, Index k, float* tile) {
  using B = Batch<Arch>;
  constexpr Index width = vectors * lanes<Arch>;
  B sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[r][v] = B(0.f);
  for (Index i = 0; i < k; ++i, panel += width) {
    B w[vectors];
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) w[v] = B::load_aligned(panel + v * lanes<Arch>);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const B factor(x[r * stride + i]);
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) sum[r][v] = xsimd::fma(factor, w[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < vectors; ++v) sum[r][v].store_aligned(tile + r * width + v * lanes<Arch>);
}

using MultiplyTile = void (*)(const float*, Index, const float*, Index, float*);

/// The kernels for 1, 2, ... tile_rows rows.
template <class Arch, int vectors>
inline constexpr auto tile_kernels = []<int... r>(std::integer_sequence<int, r...>) {
  return std::array<MultiplyTile, sizeof...(r)>{&multiply_tile<Arch, r + 1, vectors>...};
}
(std::make_integer_sequence<int, static_cast<int>(tile_rows<Arch>)>{});

/// Applies the epilogue to `width` columns of a tile from column `first` on and writes `valid` of them to y.
template <class Arch, class Activate>
void finish_row(const float* tile, Index first, Index valid, const Epilogue& epilogue, const float* residual, float* y,
                Activate activate_batch) {
  using B = Batch<Arch>;
  for (Index col = 0; col < valid; col += lanes<Arch>) {
    const Index left = valid - col;
    B value = B::load_aligned(tile + col);
    if (epilogue.bias) value += B::load_unaligned(epilogue.bias + first + col);
    value = activate_batch(value);
    if (epilogue.scale) value *= B::load_unaligned(epilogue.scale + first + col);
    if (residual)
      value += left >= lanes<Arch> ? B::load_unaligned(residual + first + col)
                                   : load_first<Arch>(residual + first + col, left, 0.f);
    if (left >= lanes<Arch>)
      value.store_unaligned(y + first + col);
    else
      store_first<Arch>(value, y + first + col, left);
  }
}

template <class Arch>
void finish_tile(const float* tile, Index rows, Index panel, Index first, Index valid, const Epilogue& epilogue,
                 Index first_row, float* y, Index y_stride) {
  const auto finish = [&](auto activate_batch) {
    for (Index r = 0; r < rows; ++r) {
      const Index row = first_row + r;
      const float* residual = epilogue.residual ? epilogue.residual + row * epilogue.residual_stride : nullptr;
      finish_row<Arch>(tile + r * panel, first, valid, epilogue, residual, y + row * y_stride, activate_batch);
    }
  };
  if (!epilogue.activation) return finish([](const Batch<Arch>& value) { return value; });
  with_activation(*epilogue.activation, [&](auto activation) {
    finish([](const Batch<Arch>& value) { return activate<decltype(activation)::value, Arch>(value); });
  });
}

}  // namespace detail

/// y[rows x w.cols] = epilogue(x[rows x w.rows] W). Strides are in floats. x and y must not overlap; the epilogue's
/// residual may be y. Rows are cut into tiles of nearly equal height (197 rows are 15 tiles of 13 and 14, not 14 and a
/// rest of 1).
template <class Arch = DefaultArch>
void gemm(Index rows, const float* x, Index x_stride, const PackedView& w, const Epilogue& epilogue, float* y,
          Index y_stride) {
  if (rows == 0 || w.cols == 0) return;
  alignas(cache_line_bytes) float tile[detail::max_tile_floats<Arch>];
  const auto& kernels = w.panel == lanes<Arch> ? detail::tile_kernels<Arch, 1> : detail::tile_kernels<Arch, 2>;
  const Index tiles = ceil_div(rows, detail::tile_rows<Arch>);
  for (Index p = 0; p < w.panels(); ++p) {
    const Index first = p * w.panel;
    const Index valid = std::min(w.panel, w.cols - first);
    for (Index t = 0; t < tiles; ++t) {
      const Index row = rows * t / tiles;
      const Index count = rows * (t + 1) / tiles - row;
      kernels[static_cast<std::size_t>(count - 1)](x + row * x_stride, x_stride, w.panel_data(p), w.rows, tile);
      detail::finish_tile<Arch>(tile, count, w.panel, first, valid, epilogue, row, y, y_stride);
    }
  }
}

}  // namespace moevit::simd
