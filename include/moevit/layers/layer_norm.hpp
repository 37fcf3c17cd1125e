/// Layer norm over the last axis.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/simd/layer_norm.hpp>

namespace moevit {

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias, row by row; scale starts at 1.
template <Index width, bool has_bias = true>
class LayerNorm {
 public:
  LayerNorm() : scale_(padded_vector(width)), bias_(has_bias ? padded_vector(width) : AlignedBuffer<float>()) {
    std::fill_n(scale_.data(), width, 1.f);
  }

  /// One row of `width` floats; y may be x.
  void forward_row(const float* x, float* y, float epsilon) const {
    simd::layer_norm_row(x, width, scale_.data(), has_bias ? bias_.data() : nullptr, epsilon, y);
  }
  /// A block of rows, on the calling thread.
  void forward(ConstMatrixView x, MatrixView y, float epsilon) const {
    for (Index row = 0; row < x.rows(); ++row) forward_row(x.row_data(row), y.row_data(row), epsilon);
  }
  /// The normalised rows of x as the left operand of a product; `row` is room for `width` floats.
  void forward(ConstMatrixView x, const simd::RowTiles& y, float* row, float epsilon) const {
    simd::fill_tiles(y, [&](Index number) {
      forward_row(x.row_data(number), row, epsilon);
      return row;
    });
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    using T = ParameterValue<Self>;
    visit(plain_parameter<T>(join_name(prefix, "scale"), self.scale_.data(), {width}, Role::norm));
    if constexpr (has_bias)
      visit(plain_parameter<T>(join_name(prefix, "bias"), self.bias_.data(), {width}, Role::norm));
  }

 private:
  AlignedBuffer<float> scale_;
  AlignedBuffer<float> bias_;
};

}  // namespace moevit
