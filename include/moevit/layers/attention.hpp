/// Multi-head self-attention, and the attention pooling of the MAP head.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/layers/layer_norm.hpp>
#include <moevit/simd/attention.hpp>

#include <cmath>

namespace moevit {

/// Queries, keys and values of all heads side by side, softmax(q k^T / sqrt(head width)) v per head and image, output
/// projection.
template <VitConfig config>
class Attention {
  static constexpr Index dim = config.dim;
  static constexpr Index heads = config.heads;
  static constexpr Index head_width = config.width_per_head();
  static constexpr Index width = config.attention_width();
  static constexpr bool normalise = config.qk_norm != QkNorm::none;
  using HeadNorm = LayerNorm<head_width, config.qk_norm == QkNorm::scale_and_bias>;
  using Projection = Linear<dim, 3 * width, config.qkv_bias>;
  using Output = Linear<width, dim, config.projection_bias>;

 public:
  static constexpr Index block_rows = 112;

  /// Scratch for `images` images of `tokens` tokens: projections and head outputs of all tokens; per worker, a block of
  /// tiled rows or what the core of a head needs.
  static constexpr ScratchBytes scratch(Index images, Index tokens) {
    const Index rows = images * tokens, block = largest_block(rows, block_rows);
    return {arena_bytes<float>(rows * 3 * width) + arena_bytes<float>(rows * width),
            std::max({arena_bytes<float>(dim) + Projection::scratch_bytes(block),
                      arena_bytes<float>(simd::attention_scratch(tokens, head_width)), Output::scratch_bytes(block)})};
  }

  /// stream += scale * attention(norm(stream)) for images of `tokens` tokens each. scale (layer scale) may be null.
  template <class Norm>
  void forward(const Norm& norm, MatrixView stream, Index tokens, const float* scale, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = stream.rows();
    const MatrixView projected(shared.take<float>(rows * 3 * width), rows, 3 * width);
    const MatrixView mixed(shared.take<float>(rows * width), rows, width);
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena& arena) {
      float* row = arena.take<float>(dim);
      const simd::RowTiles normed = projection_.take_input(count, arena);
      norm.forward(stream.rows_of(first, count), normed, row, config.epsilon);
      project(normed, projected.rows_of(first, count));
    });
    attend(projected, tokens, mixed, workspace);
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena& arena) {
      const MatrixView target = stream.rows_of(first, count);
      output_.forward(mixed.rows_of(first, count), target, arena,
                      {.scale = scale, .residual = target.data(), .residual_stride = target.stride()});
    });
  }

  /// Bytes of scratch of pool().
  static constexpr Index pool_bytes(Index tokens) {
    return arena_bytes<float>((tokens + 1) * 3 * width) + arena_bytes<float>(width) +
           std::max({Projection::scratch_bytes(tokens), Output::scratch_bytes(1),
                     arena_bytes<float>(simd::attention_scratch(tokens, head_width))});
  }

  /// y = attention of one query row (D floats) over the tokens of one image.
  void pool(const float* query, ConstMatrixView tokens, float* y, Arena& arena) const {
    const Arena::Scope scope(arena);
    const Index count = tokens.rows();
    const MatrixView projected(arena.take<float>((count + 1) * 3 * width), count + 1, 3 * width);
    float* mixed = arena.take<float>(width);
    project(tokens, projected.rows_of(0, count), arena);
    project({query, 1, dim}, projected.rows_of(count, 1), arena);
    {
      const Arena::Scope scope_of_core(arena);
      float* core = arena.take<float>(simd::attention_scratch(count, head_width));
      for (Index head = 0; head < heads; ++head)
        simd::attention_head(head_of(projected, count, count, 1, head, projection_.operand_kernel()), core,
                             mixed + head * head_width, width);
    }
    output_.forward({mixed, 1, width}, {y, 1, dim}, arena);
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    using T = ParameterValue<Self>;
    const char* names[] = {"query", "key", "value"};
    for (Index part = 0; part < 3; ++part) {
      const std::string name = join_name(prefix, names[part]);
      visit(Projection::columns(self.projection_, join_name(name, "kernel"), part * width, width, Role::attention));
      if constexpr (config.qkv_bias)
        visit(BasicParameter<T>(
            Projection::bias_columns(self.projection_, join_name(name, "bias"), part * width, width, Role::attention)));
    }
    if constexpr (normalise) {
      HeadNorm::each_parameter(self.query_norm_, join_name(prefix, "query_norm"), visit);
      HeadNorm::each_parameter(self.key_norm_, join_name(prefix, "key_norm"), visit);
    }
    Output::each_parameter(self.output_, join_name(prefix, "output"), Role::attention, visit);
  }

 private:
  void project(ConstMatrixView x, MatrixView projected, Arena& arena) const {
    const Arena::Scope scope(arena);
    const simd::RowTiles tiles = projection_.take_input(x.rows(), arena);
    simd::fill_tiles(tiles, [&](Index row) { return x.row_data(row); });
    project(tiles, projected);
  }
  void project(const simd::RowTiles& x, MatrixView projected) const {
    projection_.forward(x, simd::RowsOut{projected.data(), projected.stride()});
    if constexpr (normalise)
      for (Index row = 0; row < projected.rows(); ++row)
        for (Index head = 0; head < heads; ++head) {
          float* query = projected.row_data(row) + head * head_width;
          query_norm_.forward_row(query, query, config.epsilon);
          key_norm_.forward_row(query + width, query + width, config.epsilon);
        }
  }

  /// The head of an image whose keys and values are the first `tokens` rows, with `queries` query rows from
  /// `first_query` on.
  static simd::AttentionHead head_of(ConstMatrixView projected, Index tokens, Index first_query, Index queries,
                                     Index head, const simd::TileKernel* core_kernel) {
    const float* base = projected.data() + head * head_width;
    const float factor = 1.f / std::sqrt(static_cast<float>(head_width));
    return {base + first_query * projected.stride(),
            queries,
            projected.stride(),
            base + width,
            base + 2 * width,
            tokens,
            projected.stride(),
            head_width,
            factor,
            core_kernel};
  }

  // One task per image and head; queries are split further where there are too few of those for the workers.
  void attend(ConstMatrixView projected, Index tokens, MatrixView mixed, Workspace& workspace) const {
    const simd::TileKernel* kernel = projection_.operand_kernel();
    const Index pairs = projected.rows() / tokens * heads;
    const Index parts = pairs % workspace.workers() == 0 ? 1 : std::min(workspace.workers(), tokens);
    workspace.parallel(pairs * parts, [&](Index task, Arena& arena) {
      const Index pair = task / parts, image = pair / heads, head = pair % heads, part = task % parts;
      const Index first = tokens * part / parts, count = tokens * (part + 1) / parts - first;
      float* scratch = arena.take<float>(simd::attention_scratch(tokens, head_width));
      const simd::AttentionHead core =
          head_of(projected.rows_of(image * tokens, tokens), tokens, first, count, head, kernel);
      simd::attention_head(core, scratch, mixed.row_data(image * tokens + first) + head * head_width, width);
    });
  }

  Projection projection_;
  std::conditional_t<normalise, HeadNorm, LayerNorm<1, false>> query_norm_, key_norm_;
  Output output_;
};

}  // namespace moevit
