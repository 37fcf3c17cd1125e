/// Attention pooling: one query over the tokens of an image, as the MAP head has it.
#pragma once

#include <moevit/layers/attention.hpp>

namespace moevit {

/// What an Attention layer makes of one query row and the tokens of one image.
template <VitConfig config>
class AttentionPooling {
  using Layer = Attention<config>;
  using Projection = typename Layer::Projection;
  using Output = typename Layer::Output;
  static constexpr Index dim = Layer::dim, heads = Layer::heads, head_width = Layer::head_width, width = Layer::width;

 public:
  /// Bytes of scratch of forward().
  static constexpr Index forward_bytes(Index tokens) {
    return arena_bytes<float>((tokens + 1) * 3 * width) + arena_bytes<float>(width) +
           std::max({Projection::scratch_bytes(tokens), Output::scratch_bytes(1),
                     arena_bytes<float>(simd::attention_scratch(tokens, head_width))});
  }

  /// y = attention of one query row (D floats) over the tokens of one image.
  static void forward(const Layer& layer, const float* query, ConstMatrixView tokens, float* y, Arena& arena) {
    const Arena::Scope scope(arena);
    const Index count = tokens.rows();
    const MatrixView projected(arena.take<float>((count + 1) * 3 * width), count + 1, 3 * width);
    float* mixed = arena.take<float>(width);
    layer.projection_.forward(tokens, projected.rows_of(0, count), arena);
    layer.projection_.forward({query, 1, dim}, projected.rows_of(count, 1), arena);
    if constexpr (Layer::normalise) layer.normalise_heads(projected);
    {
      const Arena::Scope scope_of_core(arena);
      float* core = arena.take<float>(simd::attention_scratch(count, head_width));
      for (Index head = 0; head < heads; ++head)
        simd::attention_head(Layer::head_of(projected, count, count, 1, head, layer.projection_.operand_kernel()), core,
                             mixed + head * head_width, width);
    }
    layer.output_.forward({mixed, 1, width}, {y, 1, dim}, arena);
  }

  /// The gradient of forward(): from d_y (1 x D) to that of the tokens (T x D, assigned), of the query and the
  /// parameters (added to).
  static void backward(const Layer& layer, const float* query, ConstMatrixView tokens, ConstMatrixView d_y,
                       Layer& grads, float* d_query, MatrixView d_tokens, Workspace& workspace) {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index count = tokens.rows();
    const auto take = [&](Index rows, Index columns) {
      return MatrixView(shared.take<float>(rows * columns), rows, columns);
    };
    const MatrixView x = take(count + 1, dim), projected = take(count + 1, 3 * width), d = take(count + 1, 3 * width),
                     mixed = take(1, width), d_mixed = take(1, width);
    for (Index row = 0; row < count; ++row) std::copy_n(tokens.row_data(row), dim, x.row_data(row));
    std::copy_n(query, dim, x.row_data(count));
    std::fill_n(d.data(), d.size(), 0.f);
    workspace.parallel(1, [&](Index, Arena& arena) { layer.projection_.forward(x, projected, arena); });
    const ConstMatrixView normed = layer.with_head_norms(projected, workspace);
    multiply_by_transposed(layer.output_.kernel(), d_y, d_mixed, workspace);
    workspace.parallel(heads, [&](Index head, Arena& arena) {
      const HeadParts<ConstMatrixView> all = Layer::parts_of(normed, head);
      const HeadParts<ConstMatrixView> core{all.query.rows_of(count, 1), all.key.rows_of(0, count),
                                            all.value.rows_of(0, count)};
      const HeadParts<MatrixView> d_all = Layer::parts_of(d, head);
      attention_core_gradient(
          core, Layer::head_factor(), {d_mixed.data() + head * head_width, 1, head_width},
          {d_all.query.rows_of(count, 1), d_all.key.rows_of(0, count), d_all.value.rows_of(0, count)}, arena);
      simd::attention_head(Layer::head_of(normed, count, count, 1, head, nullptr),
                           arena.take<float>(simd::attention_scratch(count, head_width)),
                           mixed.data() + head * head_width, width);
    });
    add_weight_gradient(mixed, d_y, grads.output_.gradient(), workspace);
    if constexpr (Layer::normalise) layer.head_norms_gradient(projected, d, grads, workspace);
    add_weight_gradient(x, d, grads.projection_.gradient(), workspace);
    multiply_by_transposed(layer.projection_.kernel(), d, x, workspace);
    for (Index row = 0; row < count; ++row) std::copy_n(x.row_data(row), dim, d_tokens.row_data(row));
    simd::add_scaled_row(1.f, x.row_data(count), dim, d_query);
  }
  /// Bytes of scratch of backward(), shared or of a worker.
  static constexpr Index backward_bytes(Index tokens) {
    return Layer::training_scratch(1, tokens + 1).total(1) + Layer::transposed_bytes +
           3 * arena_bytes<float>((tokens + 1) * 3 * width) + arena_bytes<float>((tokens + 1) * dim) +
           2 * arena_bytes<float>(width) + forward_bytes(tokens);
  }
};

}  // namespace moevit
