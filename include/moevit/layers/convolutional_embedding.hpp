/// The embedding at the start of a stage of a convolutional transformer: a convolution with stride, then layer norm.
#pragma once

#include <moevit/layers/convolution.hpp>
#include <moevit/layers/layer_norm.hpp>

namespace moevit {

/// The numbers of a ConvolutionalEmbedding.
struct ConvolutionalEmbeddingConfig {
  Index input_dim = 3;
  Index dim = 64;
  ConvolutionWindow window = {7, 4, 2};
  float epsilon = 1e-5f;

  constexpr bool operator==(const ConvolutionalEmbeddingConfig&) const = default;
};

/// y = norm(x * W + b) over overlapping windows of an image or of the map of the stage before. Nothing is saved for the
/// backward pass, which computes it again. Source: Wu et al. 2021, section 3.1.
template <ConvolutionalEmbeddingConfig config>
class ConvolutionalEmbedding {
  static constexpr Index dim = config.dim;
  static constexpr Index block_rows = 112;
  using Projection = Convolution<config.input_dim, dim, config.window>;

 public:
  static constexpr Index input_width = config.input_dim;
  static constexpr Index output_width = dim;
  static constexpr MapSize result_size(MapSize map) { return config.window.result_size(map); }

  static constexpr ScratchBytes scratch(Index images, MapSize map) { return Projection::scratch(images, map); }

  /// x: maps of `map`, y: maps of result_size(map).
  void forward(ConstMatrixView x, MapSize map, Index images, MatrixView y, Workspace& workspace) const {
    projection_.forward(x, map, images, y, workspace);
    workspace.parallel_rows(y.rows(), block_rows, [&](Index first, Index count, Arena&) {
      norm_.forward(y.rows_of(first, count), y.rows_of(first, count), config.epsilon);
    });
  }

  /// Adds the gradients of the parameters to grads and assigns that of x to dx unless it has no rows.
  void backward(ConstMatrixView x, MapSize map, Index images, ConstMatrixView dy, ConvolutionalEmbedding& grads,
                MatrixView dx, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = dy.rows();
    const MatrixView projected(shared.take<float>(rows * dim), rows, dim), d(shared.take<float>(rows * dim), rows, dim);
    projection_.forward(x, map, images, projected, workspace);
    std::fill_n(d.data(), d.size(), 0.f);
    norm_.backward(projected, dy, grads.norm_, d, config.epsilon, workspace);
    projection_.backward(x, d, map, images, grads.projection_, dx, workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize map) {
    const Index rows = images * result_size(map).places();
    ScratchBytes bytes = Projection::training_scratch(images, map);
    bytes.shared = 2 * arena_bytes<float>(rows * dim) + std::max(bytes.shared, LayerNorm<dim>::backward_bytes(rows));
    return bytes;
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    Projection::each_parameter(self.projection_, join_name(prefix, "projection"), Role::embedding, visit);
    LayerNorm<dim>::each_parameter(self.norm_, join_name(prefix, "norm"), visit);
  }

 private:
  Projection projection_;
  LayerNorm<dim> norm_;
};

}  // namespace moevit
