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
  Index class_tokens = 0;  ///< learned, in front of the places of each image: 0 or 1
  float epsilon = 1e-5f;

  constexpr bool operator==(const ConvolutionalEmbeddingConfig&) const = default;
};

/// y = norm(x * W + b) over overlapping windows of an image or of the map of the stage before, behind a class token if
/// there is one. Nothing is saved for the backward pass, which computes it again. Source: Wu et al. 2021, section 3.1.
template <ConvolutionalEmbeddingConfig config>
class ConvolutionalEmbedding {
  static_assert(config.class_tokens == 0 || config.class_tokens == 1,
                "ConvolutionalEmbedding: expected at most one class token");
  static constexpr Index dim = config.dim;
  static constexpr Index block_rows = 112;
  static constexpr bool has_class_token = config.class_tokens > 0;
  using Projection = Convolution<config.input_dim, dim, config.window>;

 public:
  ConvolutionalEmbedding() : class_token_(config.class_tokens * dim) {}

  static constexpr Index input_width = config.input_dim;
  static constexpr Index output_width = dim;
  static constexpr MapSize result_size(MapSize map) { return config.window.result_size(map); }

  static constexpr ScratchBytes scratch(Index images, MapSize map) {
    ScratchBytes bytes = Projection::scratch(images, map);
    if (has_class_token) bytes.shared += map_bytes(images, map);
    return bytes;
  }

  /// x: maps of `map`, y: (images * (class tokens + places of result_size(map))) x D.
  void forward(ConstMatrixView x, MapSize map, Index images, MatrixView y, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Index places = result_size(map).places();
    const MatrixView projected = has_class_token ? take_map(images, map, workspace.shared()) : y;
    projection_.forward(x, map, images, projected, workspace);
    workspace.parallel_rows(images * places, block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        norm_.forward_row(projected.row_data(row), y.row_data(row_of(row, places)), config.epsilon);
    });
    for (Index image = 0; image < images && has_class_token; ++image)
      std::copy_n(class_token_.data(), dim, y.row_data(image * (places + 1)));
  }

  /// Adds the gradients of the parameters to grads and assigns that of x to dx unless it has no rows.
  void backward(ConstMatrixView x, MapSize map, Index images, ConstMatrixView dy, ConvolutionalEmbedding& grads,
                MatrixView dx, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const MatrixView projected = take_map(images, map, shared), d = take_map(images, map, shared);
    projection_.forward(x, map, images, projected, workspace);
    std::fill_n(d.data(), d.size(), 0.f);
    if constexpr (has_class_token) {
      const Index places = result_size(map).places();
      const MatrixView d_normed = take_map(images, map, shared);
      for (Index row = 0; row < d.rows(); ++row)
        std::copy_n(dy.row_data(row_of(row, places)), dim, d_normed.row_data(row));
      for (Index image = 0; image < images; ++image)
        simd::add_scaled_row(1.f, dy.row_data(image * (places + 1)), dim, grads.class_token_.data());
      norm_.backward(projected, d_normed, grads.norm_, d, config.epsilon, workspace);
    } else {
      norm_.backward(projected, dy, grads.norm_, d, config.epsilon, workspace);
    }
    projection_.backward(x, d, map, images, grads.projection_, dx, workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize map) {
    ScratchBytes bytes = Projection::training_scratch(images, map);
    const Index norm = LayerNorm<dim>::backward_bytes(images * result_size(map).places());
    bytes.shared = (2 + config.class_tokens) * map_bytes(images, map) + std::max(bytes.shared, norm);
    return bytes;
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Projection::each_parameter(self.projection_, join_name(prefix, "projection"), Role::embedding, visit);
    LayerNorm<dim>::each_parameter(self.norm_, join_name(prefix, "norm"), visit);
    if constexpr (has_class_token)
      visit(plain_parameter<ParameterValue<Self>>(join_name(prefix, "class_token"), self.class_token_.data(), {dim},
                                                  Role::embedding));
  }

 private:
  static constexpr Index map_bytes(Index images, MapSize map) {
    return arena_bytes<float>(images * result_size(map).places() * dim);
  }
  static MatrixView take_map(Index images, MapSize map, Arena& arena) {
    const Index rows = images * result_size(map).places();
    return {arena.take<float>(rows * dim), rows, dim};
  }
  /// The row of y that a row of the map becomes.
  static constexpr Index row_of(Index row, Index places) { return has_class_token ? row + row / places + 1 : row; }

  Projection projection_;
  LayerNorm<dim> norm_;
  AlignedBuffer<float> class_token_;
};

}  // namespace moevit
