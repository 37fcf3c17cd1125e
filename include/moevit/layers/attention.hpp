/// Multi-head self-attention.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/layers/attention_core_gradient.hpp>
#include <moevit/layers/layer_norm.hpp>
#include <moevit/layers/masks.hpp>

#include <cmath>

namespace moevit {

/// Queries, keys and values of all heads side by side, softmax(q k^T / sqrt(head width)) v per head and image, output
/// projection.
template <VitConfig config>
class Attention {
  template <VitConfig>
  friend class AttentionPooling;  // layers/attention_pooling.hpp

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

  /// What backward() needs of a pass: queries, keys and values before their norms, and the outputs of the heads.
  struct Saved {
    MatrixView projected;  ///< rows x 3 width
    MatrixView mixed;      ///< rows x width

    Saved rows_of(Index first, Index count) const {
      return {projected.rows_of(first, count), mixed.rows_of(first, count)};
    }
  };
  static constexpr Index saved_bytes(Index rows) {
    return arena_bytes<float>(rows * 3 * width) + arena_bytes<float>(rows * width);
  }

  static Saved take_saved(Index rows, Arena& arena) {
    return {{arena.take<float>(rows * 3 * width), rows, 3 * width}, {arena.take<float>(rows * width), rows, width}};
  }

  /// result = stream + scale * masked attention(norm(stream)), as forward(), filling `saved`.
  template <class Norm>
  void forward_saved(const Norm& norm, ConstMatrixView stream, Index tokens, const float* scale, const Saved& saved,
                     MatrixView result, Workspace& workspace, const BranchMask& mask = {}) const {
    const Arena::Scope scope(workspace.shared());
    const Index rows = stream.rows();
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena& arena) {
      float* row = arena.take<float>(dim);
      const simd::RowTiles normed = projection_.take_input(count, arena);
      norm.forward(stream.rows_of(first, count), normed, row, config.epsilon);
      const MatrixView target = saved.projected.rows_of(first, count);
      projection_.forward(normed, simd::RowsOut{target.data(), target.stride()});
    });
    attend(with_head_norms(saved.projected, workspace), tokens, saved.mixed, workspace);
    workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena& arena) {
      const ConstMatrixView source = stream.rows_of(first, count);
      const MatrixView target = result.rows_of(first, count);
      simd::Epilogue epilogue{.scale = scale, .residual = source.data(), .residual_stride = source.stride()};
      if (mask.is_active()) epilogue = {};
      output_.forward(saved.mixed.rows_of(first, count), target, arena, epilogue);
      if (mask.is_active()) add_masked_branch(source, scale, mask.from(first), target);
    });
  }

  /// The weights of both products, transposed.
  struct Transposed {
    simd::PackedView projection, output;
  };
  /// Bytes of shared scratch that they take.
  static constexpr Index transposed_bytes = Projection::transposed_bytes + Output::transposed_bytes;
  Transposed transposed(Workspace& workspace) const {
    return {transposed_weights(projection_.kernel(), workspace), transposed_weights(output_.kernel(), workspace)};
  }

  /// The gradient of y = x + attention(norm(x)) for rows x: d_stream, the gradient of y, becomes that of x. `d_branch`
  /// is the gradient of attention(norm(x)), which may be d_stream itself; `weights` are those of transposed().
  template <class Norm>
  void backward(const Transposed& weights, const Norm& norm, ConstMatrixView x, Index tokens, const Saved& saved,
                ConstMatrixView d_branch, Attention& grads, Norm& norm_grads, MatrixView d_stream,
                Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index rows = x.rows();
    const auto take = [&](Index columns) { return MatrixView(shared.take<float>(rows * columns), rows, columns); };
    const MatrixView d_projected = take(3 * width);
    {
      const Arena::Scope scope_of_core(shared);
      const MatrixView d_mixed = take(width);
      multiply_all_rows(d_branch, weights.output, d_mixed, workspace);
      add_weight_gradient(saved.mixed, d_branch, grads.output_.gradient(), workspace);
      core_gradient(with_head_norms(saved.projected, workspace), tokens, d_mixed, d_projected, workspace);
    }
    if constexpr (normalise) head_norms_gradient(saved.projected, d_projected, grads, workspace);
    const MatrixView normed = normed_rows(norm, config.epsilon, x, workspace);
    add_weight_gradient(normed, d_projected, grads.projection_.gradient(), workspace);
    multiply_all_rows(d_projected, weights.projection, normed, workspace);  // normed is not needed any more
    norm.backward(x, normed, norm_grads, d_stream, config.epsilon, workspace);
  }

  /// branch = attention(norm(x)) of a saved pass, without layer scale.
  void branch_of(const Saved& saved, MatrixView branch, Workspace& workspace) const {
    workspace.parallel_rows(branch.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
      output_.forward(saved.mixed.rows_of(first, count), branch.rows_of(first, count), arena);
    });
  }

  /// Scratch of forward_saved() and backward() but for transposed weights.
  static constexpr ScratchBytes training_scratch(Index images, Index tokens) {
    const Index rows = images * tokens, block = largest_block(rows, block_rows);
    const Index heads_normed = normalise ? arena_bytes<float>(rows * 3 * width) : 0;
    const Index core = arena_bytes<float>(rows * width) + heads_normed;
    const Index ends = arena_bytes<float>(rows * dim) + LayerNorm<dim>::backward_bytes(rows);
    const Index norms = normalise ? heads_normed + HeadNorm::backward_bytes(rows) : 0;
    return {arena_bytes<float>(rows * 3 * width) + std::max({core, ends, norms}),
            std::max({scratch(images, tokens).per_worker, attention_core_gradient_bytes(tokens, head_width),
                      tiles_bytes(block, 3 * width), weight_gradient_bytes(rows)})};
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
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
  void project(const simd::RowTiles& x, MatrixView projected) const {
    projection_.forward(x, simd::RowsOut{projected.data(), projected.stride()});
    if constexpr (normalise) normalise_heads(projected);
  }

  /// Queries and keys with their norms, in shared scratch; without norms the same rows.
  ConstMatrixView with_head_norms(ConstMatrixView projected, Workspace& workspace) const {
    if constexpr (!normalise) {
      return projected;
    } else {
      const Index rows = projected.rows();
      const MatrixView normed(workspace.shared().template take<float>(rows * 3 * width), rows, 3 * width);
      workspace.parallel_rows(rows, block_rows, [&](Index first, Index count, Arena&) {
        for (Index row = first; row < first + count; ++row)
          std::copy_n(projected.row_data(row), 3 * width, normed.row_data(row));
        normalise_heads(normed.rows_of(first, count));
      });
      return normed;
    }
  }
  void normalise_heads(MatrixView projected) const {
    for (Index row = 0; row < projected.rows(); ++row)
      for (Index head = 0; head < heads; ++head) {
        float* query = projected.row_data(row) + head * head_width;
        query_norm_.forward_row(query, query, config.epsilon);
        key_norm_.forward_row(query + width, query + width, config.epsilon);
      }
  }

  static float head_factor() { return 1.f / std::sqrt(static_cast<float>(head_width)); }

  template <class View>
  static HeadParts<View> parts_of(const View& projected, Index head) {
    auto* base = projected.data() + head * head_width;
    const Index rows = projected.rows(), stride = projected.stride();
    return {{base, rows, head_width, stride},
            {base + width, rows, head_width, stride},
            {base + 2 * width, rows, head_width, stride}};
  }

  void core_gradient(ConstMatrixView projected, Index tokens, ConstMatrixView d_mixed, MatrixView d_projected,
                     Workspace& workspace) const {
    workspace.parallel(projected.rows() / tokens * heads, [&](Index task, Arena& arena) {
      const Index first = task / heads * tokens, head = task % heads;
      const ConstMatrixView dy(d_mixed.row_data(first) + head * head_width, tokens, head_width, d_mixed.stride());
      attention_core_gradient(parts_of(projected.rows_of(first, tokens), head), head_factor(), dy,
                              parts_of(d_projected.rows_of(first, tokens), head), arena);
    });
  }

  /// From the gradients of normalised queries and keys to those of what was normalised, in place.
  void head_norms_gradient(ConstMatrixView projected, MatrixView d_projected, Attention& grads,
                           Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    const Index rows = projected.rows(), both = 2 * width;
    const MatrixView d_raw(workspace.shared().template take<float>(rows * both), rows, both);
    std::fill_n(d_raw.data(), rows * both, 0.f);
    for (Index head = 0; head < 2 * heads; ++head) {
      const Index column = head * head_width;
      const bool is_key = head >= heads;
      (is_key ? key_norm_ : query_norm_)
          .backward({projected.data() + column, rows, head_width, projected.stride()},
                    {d_projected.data() + column, rows, head_width, d_projected.stride()},
                    is_key ? grads.key_norm_ : grads.query_norm_,
                    {d_raw.data() + column, rows, head_width, d_raw.stride()}, config.epsilon, workspace);
    }
    for (Index row = 0; row < rows; ++row) std::copy_n(d_raw.row_data(row), both, d_projected.row_data(row));
  }

  /// The head of an image whose keys and values are the first `tokens` rows, with `queries` query rows from
  /// `first_query` on.
  static simd::AttentionHead head_of(ConstMatrixView projected, Index tokens, Index first_query, Index queries,
                                     Index head, const simd::TileKernel* core_kernel) {
    const float* base = projected.data() + head * head_width;
    return {base + first_query * projected.stride(),
            queries,
            projected.stride(),
            base + width,
            base + 2 * width,
            tokens,
            projected.stride(),
            head_width,
            head_factor(),
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
