/// y = x^T d or y += x^T d: products over the rows of both operands, as the gradients of weights are.
///
/// How it works: a tile of the result stays in registers while all rows of x and d pass; a column of x is read where it
/// lies, `x_stride` floats from row to row, and d comes in panels (packed.hpp). Every element of y is one sum over
/// rising rows. A panel should not have more rows than stay in the L2 cache, so callers with many take them in parts.
#pragma once

#include <moevit/simd/packed.hpp>

#include <array>
#include <utility>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Where y lies: element (row, col) at data + col / panel * panel_step + row * row_step + col % panel, with the panels
/// of d. Columns of d that only fill a panel are not written.
struct TransposedOut {
  float* data = nullptr;
  Index row_step = 0;
  Index panel_step = 0;
  bool assigns = false;              ///< y = row_scale * (x^T d), else y += x^T d
  const float* row_scale = nullptr;  ///< of y's first row; null: 1
};

namespace detail {

/// `rows` columns of x times a group of vectors * lanes columns of one panel.
struct TransposedCall {
  const float* x = nullptr;
  Index x_stride = 0;
  const float* d = nullptr;
  Index panel = 0;
  Index count = 0;  ///< rows of x and d
  float* y = nullptr;
  Index y_stride = 0;
  Index columns = 0;  ///< that are written
  bool assigns = false;
  const float* row_scale = nullptr;
};

template <class Arch>
MOEVIT_ALWAYS_INLINE void put_sums(const TransposedCall& call, Index row, Index vector, const Batch<Arch>& sum) {
  const Index col = vector * lanes<Arch>, left = std::min(lanes<Arch>, call.columns - col);
  float* y = call.y + row * call.y_stride + col;
  if (left <= 0) return;
  if (!call.assigns)
    store_valid<Arch>(load_valid<Arch>(y, left) + sum, y, left);
  else
    store_valid<Arch>(call.row_scale ? sum * Batch<Arch>(call.row_scale[row]) : sum, y, left);
}

template <class Arch, int rows, int vectors>
void multiply_transposed_tile(const TransposedCall& given) {
  using B = Batch<Arch>;
  const TransposedCall call = given;  // a local one, which stores to memory cannot change
  B sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) sum[r][v] = B(0.f);
  const float *x = call.x, *d = call.d;
  for (Index left = call.count; left > 0; --left, x += call.x_stride, d += call.panel) {
    B values[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) values[v] = B::load_aligned(d + v * lanes<Arch>);
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
      const B factor(x[r]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] = fma<Arch>(factor, values[v], sum[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) put_sums<Arch>(call, r, v, sum[r][v]);
}

template <class Arch>
inline constexpr int transposed_rows = register_count<Arch> == 32 ? 14 : 6;

template <class Arch, int vectors>
inline constexpr auto transposed_heights = []<int... r>(std::integer_sequence<int, r...>) {
  return std::array<void (*)(const TransposedCall&), sizeof...(r)>{&multiply_transposed_tile<Arch, r + 1, vectors>...};
}
(std::make_integer_sequence<int, transposed_rows<Arch>>{});

}  // namespace detail

/// y += x^T d, or what y says, for columns [first, first + count) of x, which has d.rows rows `x_stride` floats apart;
/// y(0, .) belongs to column `first`. d: packed floats, rows x N.
template <class Arch = DefaultArch>
void add_transposed_product(const float* x, Index x_stride, Index first, Index count, const PackedView& d,
                            const TransposedOut& y) {
  constexpr Index most = detail::transposed_rows<Arch>;
  const Index tiles = ceil_div(count, most), step = std::min(d.panel, 2 * lanes<Arch>);
  for (Index col = 0; col < d.cols; col += step) {
    const Index panel = col / d.panel;
    detail::TransposedCall call;
    call.x_stride = x_stride, call.panel = d.panel, call.y_stride = y.row_step, call.count = d.rows;
    call.d = reinterpret_cast<const float*>(d.column_data(col));
    call.columns = std::min(step, d.cols - col), call.assigns = y.assigns;
    const auto& heights =
        call.columns <= lanes<Arch> ? detail::transposed_heights<Arch, 1> : detail::transposed_heights<Arch, 2>;
    for (Index tile = 0; tile < tiles; ++tile) {
      const Index row = count * tile / tiles, height = count * (tile + 1) / tiles - row;
      if (d.rows > 0) call.x = x + first + row;  // without rows there may be no x
      call.y = y.data + panel * y.panel_step + row * y.row_step + col % d.panel;
      if (y.row_scale) call.row_scale = y.row_scale + row;
      heights[static_cast<std::size_t>(height - 1)](call);
    }
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
