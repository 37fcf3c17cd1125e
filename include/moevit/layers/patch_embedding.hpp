/// Patches to tokens, with class token and positions.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/layers/linear.hpp>

#include <cmath>
#include <span>

namespace moevit {

/// The 2-D sine and cosine table of a grid, rows x columns tokens of width D: [sin(x w), cos(x w), sin(y w), cos(y w)]
/// with x the column, y the row, w_i = 10000^(-i / (D/4 - 1)). D is a multiple of 4 and at least 8. Source: V-MoE, as
/// in MoCo v3.
inline void fill_sincos2d(Index grid_rows, Index grid_columns, Index dim, float* table) {
  const Index quarter = dim / 4;
  for (Index row = 0; row < grid_rows; ++row)
    for (Index column = 0; column < grid_columns; ++column)
      for (Index i = 0; i < quarter; ++i) {
        const double w = std::pow(10000., -static_cast<double>(i) / static_cast<double>(quarter - 1));
        float* out = table + (row * grid_columns + column) * dim + i;
        out[0] = static_cast<float>(std::sin(static_cast<double>(column) * w));
        out[quarter] = static_cast<float>(std::cos(static_cast<double>(column) * w));
        out[2 * quarter] = static_cast<float>(std::sin(static_cast<double>(row) * w));
        out[3 * quarter] = static_cast<float>(std::cos(static_cast<double>(row) * w));
      }
}

/// tokens = [class token;] patches W + b, + positions. A patch is read row by row, channels last, the grid row by row.
template <VitConfig config>
class PatchEmbedding {
  static_assert(config.positions != Positions::sincos2d || (config.dim % 4 == 0 && config.dim >= 8),
                "PatchEmbedding: sincos2d positions need a dim that is a multiple of 4 and at least 8");
  static constexpr Index dim = config.dim;
  static constexpr Index first_patch = config.has_class_token() ? 1 : 0;
  static constexpr bool has_positions = config.positions != Positions::none;
  static constexpr Index block_patches = 112;
  using Projection = Linear<config.patch_values(), dim>;

 public:
  PatchEmbedding()
      : class_token_(config.has_class_token() ? dim : 0), positions_(has_positions ? config.tokens() * dim : 0) {
    if constexpr (config.positions == Positions::sincos2d)
      fill_sincos2d(config.grid_rows(), config.grid_columns(), dim, positions_.data() + first_patch * dim);
  }

  static constexpr ScratchBytes scratch() {
    return {0, arena_bytes<float>(config.patch_values()) +
                   Projection::scratch_bytes(largest_block(config.patches(), block_patches))};
  }

  /// images: N x height x width x channels; stream: (N * tokens) x D.
  void forward(std::span<const float> images, MatrixView stream, Workspace& workspace) const {
    const Index count = static_cast<Index>(images.size()) / config.image_values();
    const Index parts = ceil_div(config.patches(), block_patches);
    workspace.parallel(count * parts, [&](Index task, Arena& arena) {
      const Index image = task / parts, part = task % parts;
      const Index first = config.patches() * part / parts, last = config.patches() * (part + 1) / parts;
      const MatrixView tokens = stream.rows_of(image * config.tokens(), config.tokens());
      if (part == 0 && first_patch) place_class_token(tokens.row_data(0));
      embed(images.data() + image * config.image_values(), first, last - first, tokens, arena);
    });
  }

  /// Adds the gradients of the parameters to grads, from d_stream, that of the tokens; and assigns that of the images
  /// to d_images, unless it is empty.
  void backward(std::span<const float> images, ConstMatrixView d_stream, PatchEmbedding& grads,
                std::span<float> d_images, Workspace& workspace) const {
    const Arena::Scope scope(workspace.shared());
    constexpr Index values = config.patch_values(), patches_of = config.patches(), tokens = config.tokens();
    const Index count = static_cast<Index>(images.size()) / config.image_values(), rows = count * patches_of;
    const MatrixView patches(workspace.shared().template take<float>(rows * values), rows, values);
    const MatrixView d(workspace.shared().template take<float>(rows * dim), rows, dim);
    workspace.parallel(count, [&](Index image, Arena&) {
      for (Index patch = 0; patch < patches_of; ++patch) {
        const Index row = image * patches_of + patch;
        copy_patch(images.data() + image * config.image_values(), patch, patches.row_data(row));
        std::copy_n(d_stream.row_data(image * tokens + first_patch + patch), dim, d.row_data(row));
      }
    });
    add_weight_gradient(patches, d, grads.projection_.gradient(), workspace);
    for (Index image = 0; image < count; ++image) grads.add_token_gradient(d_stream.rows_of(image * tokens, tokens));
    if (d_images.empty()) return;
    const simd::PackedView transposed = transposed_weights(projection_.kernel(), workspace);
    workspace.parallel(count, [&](Index image, Arena& arena) {
      const MatrixView own = patches.rows_of(image * patches_of, patches_of);
      multiply_rows(d.rows_of(image * patches_of, patches_of), transposed, own, arena);
      for (Index patch = 0; patch < patches_of; ++patch)
        place_patch(own.row_data(patch), patch, d_images.data() + image * config.image_values());
    });
  }
  static constexpr ScratchBytes training_scratch(Index images) {
    const Index rows = images * config.patches();
    return {arena_bytes<float>(rows * config.patch_values()) + arena_bytes<float>(rows * dim) +
                Projection::transposed_bytes,
            std::max({scratch().per_worker, weight_gradient_bytes(rows), tiles_bytes(config.patches(), dim)})};
  }

  template <class Self>
  static void each_parameter(Self& self, const ParameterVisitor<Self>& visit) {
    using T = ParameterValue<Self>;
    const auto kernel_shape = Shape{config.patch_height(), config.patch_width_pixels(), config.channels, dim};
    Projection::each_parameter(self.projection_, "patch_embedding", Role::embedding, [&](auto&& parameter) {
      if (parameter.shape.size() == 2) parameter.shape = kernel_shape;
      visit(std::move(parameter));
    });
    if constexpr (first_patch)
      visit(plain_parameter<T>("class_token", self.class_token_.data(), {dim}, Role::embedding));
    if constexpr (config.positions == Positions::learned)
      visit(plain_parameter<T>("position_embedding", self.positions_.data(), {config.tokens(), dim}, Role::embedding));
  }

 private:
  /// Adds the gradients of one image's tokens to those of class token and positions.
  void add_token_gradient(ConstMatrixView d) {
    for (Index i = 0; i < dim && first_patch; ++i) class_token_[i] += d(0, i);
    if constexpr (config.positions == Positions::learned)
      for (Index token = 0; token < config.tokens(); ++token)
        for (Index i = 0; i < dim; ++i) positions_[token * dim + i] += d(token, i);
  }

  void place_class_token(float* row) const {
    for (Index i = 0; i < dim; ++i) row[i] = class_token_[i] + (has_positions ? positions_[i] : 0.f);
  }

  void embed(const float* image, Index first, Index count, MatrixView tokens, Arena& arena) const {
    float* patch = arena.take<float>(config.patch_values());
    const simd::RowTiles values = projection_.take_input(count, arena);
    simd::fill_tiles(values, [&](Index i) {
      copy_patch(image, first + i, patch);
      return patch;
    });
    simd::Epilogue epilogue;
    if constexpr (has_positions) {
      epilogue.residual = positions_.data() + (first_patch + first) * dim;
      epilogue.residual_stride = dim;
    }
    const MatrixView target = tokens.rows_of(first_patch + first, count);
    projection_.forward(values, simd::RowsOut{target.data(), target.stride()}, epilogue);
  }

  static constexpr Index patch_line = config.patch_width_pixels() * config.channels;
  static constexpr Index image_line = config.width() * config.channels;

  /// Where a patch begins in an image.
  static constexpr Index corner_of(Index patch) {
    const Index row = patch / config.grid_columns(), column = patch % config.grid_columns();
    return row * config.patch_height() * image_line + column * patch_line;
  }
  static void copy_patch(const float* image, Index patch, float* out) {
    for (Index y = 0; y < config.patch_height(); ++y)
      std::copy_n(image + corner_of(patch) + y * image_line, patch_line, out + y * patch_line);
  }
  static void place_patch(const float* values, Index patch, float* image) {
    for (Index y = 0; y < config.patch_height(); ++y)
      std::copy_n(values + y * patch_line, patch_line, image + corner_of(patch) + y * image_line);
  }

  Projection projection_;
  AlignedBuffer<float> class_token_;
  AlignedBuffer<float> positions_;
};

}  // namespace moevit
