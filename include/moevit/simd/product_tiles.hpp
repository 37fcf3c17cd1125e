/// How tiles of a product get from the microkernel through the epilogue to y.
#pragma once

#include <moevit/simd/dequantise.hpp>
#include <moevit/simd/epilogue.hpp>
#include <moevit/simd/tile_kernel.hpp>

#include <cassert>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// The part of a product's columns that one call of a kernel computes.
struct ColumnGroup {
  Index first = 0;
  Index valid = 0;    ///< columns that the matrix has
  Index columns = 0;  ///< columns that are computed: whole registers
};

/// Whether the kernel itself can do all of an epilogue and all columns of a group exist, so that tiles go straight to
/// y.
template <class Out>
bool goes_straight(const ColumnGroup& group, const Epilogue& epilogue) {
  return (Out::is_padded || group.valid == group.columns) && !epilogue.activation && !epilogue.scale &&
         !(epilogue.row_scale && epilogue.residual);
}

/// call.tiles tiles of one height, the first of which is `tile`, by multiply(TileCall): straight to y, or else one by
/// way of a tile of sums in the L1 cache.
template <class Arch, class Multiply, class Out>
void multiply_tile_to(Multiply&& multiply, const RowTile& tile, TileCall call, const ColumnGroup& group,
                      const Epilogue& epilogue, const Out& y) {
  const Index first_row = tile.first_row;
  assert(call.tiles == 1 || goes_straight<Out>(group, epilogue));
  call.x = tile.data, call.x_line = tile.line_step, call.rows = tile.rows;
  if (epilogue.bias) call.bias = epilogue.bias + group.first;
  if (const LowRank& factors = epilogue.factors; factors.rank > 0) {
    call.rank = factors.rank, call.left = factors.left + first_row * factors.rank;
    call.right = factors.right + group.first / call.panel * factors.rank * call.panel + group.first % call.panel;
  }
  if (goes_straight<Out>(group, epilogue)) {
    const RowWriter target = y.writer(first_row, call.rows, group.first);
    call.out = target.data, call.out_stride = target.step, call.out_line = y.line(call.rows);
    call.x_step = tile.step(), call.out_step = y.tile_step(call.rows);
    if (epilogue.row_scale) call.row_scale = epilogue.row_scale + first_row;
    if (epilogue.residual)
      call.residual = epilogue.residual + first_row * epilogue.residual_stride + group.first,
      call.residual_stride = epilogue.residual_stride;
    return multiply(call);
  }
  alignas(cache_line_bytes) float sums[16 * 32];
  call.out = sums, call.out_stride = group.columns;
  multiply(call);
  finish_tile<Arch>(sums, {first_row, tile.rows, group.first, group.valid, group.columns}, epilogue, y);
}

/// One tile of x, or two, with a kernel that gives sums only.
template <class Arch, class Out>
void multiply_by_sums(const RowTile* tiles, Index count, const PackedView& w, const TileCall& call,
                      const ColumnGroup& group, const Epilogue& epilogue, const Out& y) {
  alignas(cache_line_bytes) float sums[2][16 * 32];
  TileCall calls[2] = {call, call};
  for (Index i = 0; i < count; ++i) {
    calls[i].x = tiles[i].data, calls[i].x_line = tiles[i].line_step, calls[i].rows = tiles[i].rows;
    calls[i].out = sums[i], calls[i].out_stride = group.columns;
  }
  if (count == 2)
    w.kernel->multiply_two(calls[0], calls[1]);
  else
    w.kernel->multiply(calls[0]);
  for (Index i = 0; i < count; ++i) {
    const RowTile& tile = tiles[i];
    if (w.format == WeightFormat::int8) dequantise_tile<Arch>(sums[i], tile, group.columns, w, group.first);
    if (epilogue.bias) add_bias<Arch>(sums[i], tile.rows, group.columns, epilogue.bias + group.first);
    finish_tile<Arch>(sums[i], {tile.first_row, tile.rows, group.first, group.valid, group.columns}, epilogue, y);
  }
}

}  // namespace detail

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
