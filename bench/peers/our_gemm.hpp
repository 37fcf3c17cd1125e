/// The one place of this folder that calls our matrix product directly.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/gemm.hpp>

namespace moevit::bench {

/// A product with packed weights, y[rows x cols] = x[rows x inner] W.
class OurGemm {
 public:
  OurGemm(Index inner, Index cols, const float* weights)
      : panels_(simd::packed_size(inner, cols)), packed_(simd::pack(weights, cols, inner, cols, panels_.data())) {}

  /// As a layer does it: tiling the rows is part of the work.
  void run(Index rows, const float* x, float* y) {
    if (room_.size() < rows * simd::tiled_row_bytes(packed_.rows))
      room_ = AlignedBuffer<std::byte>(rows * simd::tiled_row_bytes(packed_.rows));
    const simd::RowTiles tiles = simd::tile_rows(rows, x, packed_.rows, packed_, room_.data());
    simd::gemm(tiles, packed_, {}, simd::RowsOut{y, packed_.cols});
  }

 private:
  AlignedBuffer<float> panels_;
  simd::PackedView packed_;
  AlignedBuffer<std::byte> room_;
};

}  // namespace moevit::bench
