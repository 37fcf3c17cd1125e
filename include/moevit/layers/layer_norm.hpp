/// Layer norm over the last axis.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/simd/row_gradients.hpp>

namespace moevit {

/// y = (x - mean) / sqrt(variance + epsilon) * scale + bias, row by row; scale starts at 1.
template <Index width, bool has_bias = true>
class LayerNorm {
  static constexpr Index gradient_rows = 64;

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

  /// Bytes of shared scratch that backward() takes for `rows` rows.
  static constexpr Index backward_bytes(Index rows) {
    return arena_bytes<float>(ceil_div(rows, gradient_rows) * 2 * width);
  }
  /// dx += what dy, the gradient of the output, makes of the input's; the parameters' is added to grads. Sums run over
  /// blocks of rows that do not depend on the number of workers.
  void backward(ConstMatrixView x, ConstMatrixView dy, LayerNorm& grads, MatrixView dx, float epsilon,
                Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Index blocks = ceil_div(x.rows(), gradient_rows);
    float* sums = workspace.shared().template take<float>(blocks * 2 * width);
    workspace.parallel(blocks, [&](Index block, Arena&) {
      float* own = sums + block * 2 * width;
      std::fill_n(own, 2 * width, 0.f);
      const Index first = block * gradient_rows, last = std::min(first + gradient_rows, x.rows());
      for (Index row = first; row < last; ++row)
        simd::add_layer_norm_gradient_row(x.row_data(row), dy.row_data(row), width, scale_.data(), epsilon, own,
                                          has_bias ? own + width : nullptr, dx.row_data(row));
    });
    for (Index block = 0; block < blocks; ++block) grads.add(sums + block * 2 * width);
  }
  /// The same for one row, on the calling thread.
  void backward_row(const float* x, const float* dy, LayerNorm& grads, float* dx, float epsilon) const {
    simd::add_layer_norm_gradient_row(x, dy, width, scale_.data(), epsilon, grads.scale_.data(),
                                      has_bias ? grads.bias_.data() : nullptr, dx);
  }
  /// Adds sums of scale and bias, side by side, to a gradient.
  void add(const float* sums) {
    for (Index i = 0; i < width; ++i) scale_[i] += sums[i];
    for (Index i = 0; i < width && has_bias; ++i) bias_[i] += sums[width + i];
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    using T = ParameterValue<Self>;
    visit(plain_parameter<T>(join_name(prefix, "scale"), self.scale_.data(), {width}, Role::norm));
    if constexpr (has_bias)
      visit(plain_parameter<T>(join_name(prefix, "bias"), self.bias_.data(), {width}, Role::norm));
  }

 private:
  AlignedBuffer<float> scale_;
  AlignedBuffer<float> bias_;
};

/// norm(x), rows x width, in shared scratch, on all workers.
template <class Norm>
MatrixView normed_rows(const Norm& norm, float epsilon, ConstMatrixView x, Workspace& workspace) {
  const MatrixView normed(workspace.shared().take<float>(x.size()), x.rows(), x.cols());
  workspace.parallel_rows(x.rows(), 256, [&](Index first, Index count, Arena&) {
    norm.forward(x.rows_of(first, count), normed.rows_of(first, count), epsilon);
  });
  return normed;
}

}  // namespace moevit
