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

  void run(Index rows, const float* x, float* y) const {
    simd::gemm(rows, x, packed_.rows, packed_, {}, y, packed_.cols);
  }

 private:
  AlignedBuffer<float> panels_;
  simd::PackedView packed_;
};

}  // namespace moevit::bench
