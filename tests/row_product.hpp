/// A product of rows that are not tiled yet, for tests and benchmarks.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/gemm.hpp>

namespace moevit::test {

/// y[rows x w.cols] = epilogue(x[rows x w.rows] W); strides are in floats.
template <class Arch = simd::DefaultArch>
void multiply_rows(Index rows, const float* x, Index x_stride, const simd::PackedView& w,
                   const simd::Epilogue& epilogue, float* y, Index y_stride) {
  AlignedBuffer<std::byte> room(rows * simd::tiled_row_bytes(w.rows));
  const simd::RowTiles tiles = simd::tile_rows<Arch>(rows, x, x_stride, w, room.data());
  simd::gemm<Arch>(tiles, w, epilogue, simd::RowsOut{y, y_stride});
}

}  // namespace moevit::test
