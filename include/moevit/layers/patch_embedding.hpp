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

  template <class Self, class Visit>
  static void each_parameter(Self& self, Visit&& visit) {
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

  static void copy_patch(const float* image, Index patch, float* out) {
    const Index row = patch / config.grid_columns(), column = patch % config.grid_columns();
    constexpr Index line = config.patch_width_pixels() * config.channels;
    const float* corner = image + row * config.patch_height() * config.width() * config.channels + column * line;
    for (Index y = 0; y < config.patch_height(); ++y)
      std::copy_n(corner + y * config.width() * config.channels, line, out + y * line);
  }

  Projection projection_;
  AlignedBuffer<float> class_token_;
  AlignedBuffer<float> positions_;
};

}  // namespace moevit
