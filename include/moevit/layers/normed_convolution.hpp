/// Convolution, group norm, ReLU: what dense heads are made of.
#pragma once

#include <moevit/layers/convolution.hpp>
#include <moevit/layers/group_norm.hpp>
#include <moevit/simd/activation_gradient.hpp>
#include <moevit/simd/rows.hpp>

namespace moevit {

/// y = relu(norm(x * W)) over maps. The norm is a group norm rather than a batch norm, as dense tasks are trained with
/// few images at a time, whose statistics say little; and so an image has the same result in any batch, in training
/// too.
template <Index inputs, Index outputs, ConvolutionWindow window, Index groups>
class NormedConvolution {
  using Product = Convolution<inputs, outputs, window, false>;
  using Norm = GroupNorm<outputs, groups>;
  static constexpr Index block_rows = 256;

 public:
  static constexpr float epsilon = 1e-5f;

  static constexpr MapSize result_size(MapSize size) { return window.result_size(size); }
  static constexpr Index multiply_adds(MapSize size) { return Product::multiply_adds(size); }
  static constexpr ScratchBytes scratch(Index images, MapSize size) { return Product::scratch(images, size); }
  /// Floats that a training pass keeps beside x and y: the sums before the norm.
  static constexpr Index saved_values(Index images, MapSize size) {
    return images * result_size(size).places() * outputs;
  }

  /// x: (images * places) x inputs, y: (images * places of the result) x outputs. `saved`: room for saved_values(), or
  /// null when no backward pass follows.
  void forward(ConstMatrixView x, MapSize size, Index images, float* saved, MatrixView y, Workspace& workspace) const {
    const MatrixView sums = saved ? MatrixView(saved, y.rows(), outputs) : y;
    product_.forward(x, size, images, sums, workspace);
    norm_.forward(sums, images, y, epsilon, workspace);
    workspace.parallel_rows(y.rows(), block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        simd::activate_row(Activation::relu, y.row_data(row), outputs, y.row_data(row));
    });
  }

  /// The gradient of forward(), which kept `saved` and y: from dy, which is used up, that of x, assigned to dx unless
  /// dx has no rows, and those of the parameters, added to grads.
  void backward(ConstMatrixView x, MapSize size, Index images, float* saved, ConstMatrixView y, MatrixView dy,
                NormedConvolution& grads, MatrixView dx, Workspace& workspace) const {
    workspace.parallel_rows(y.rows(), block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        simd::activation_gradient_row(Activation::relu, y.row_data(row), dy.row_data(row), outputs, dy.row_data(row));
    });
    norm_.backward({saved, y.rows(), outputs}, dy, images, grads.norm_, dy, epsilon, workspace);
    product_.backward(x, dy, size, images, grads.product_, dx, workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize size) {
    return one_after_the_other(Product::training_scratch(images, size), Norm::backward_scratch(images));
  }

  /// Parameters `prefix`.kernel, `prefix`.norm.scale and `prefix`.norm.bias.
  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Product::each_parameter(self.product_, prefix, Role::head, visit);
    Norm::each_parameter(self.norm_, join_name(prefix, "norm"), visit);
  }

 private:
  Product product_;
  Norm norm_;
};

/// y += x, and y = x, on all workers.
inline void add_rows(ConstMatrixView x, MatrixView y, Workspace& workspace) {
  workspace.parallel_rows(y.rows(), 256, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row)
      simd::add_scaled_row(1.f, x.row_data(row), y.cols(), y.row_data(row));
  });
}
inline void copy_rows(ConstMatrixView x, MatrixView y, Workspace& workspace) {
  workspace.parallel_rows(y.rows(), 256, [&](Index first, Index count, Arena&) {
    for (Index row = first; row < first + count; ++row) std::copy_n(x.row_data(row), y.cols(), y.row_data(row));
  });
}

}  // namespace moevit
