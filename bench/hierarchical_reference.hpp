/// Swin-T and CvT-13 as plain loops in double precision, one image at a time.
#pragma once

#include "layers/convolutional_reference.hpp"
#include "layers/window_reference.hpp"
#include "models/reference_heads.hpp"

#include <moevit/core/cvt_config.hpp>
#include <moevit/core/swin_config.hpp>

#include <span>
#include <string>

namespace moevit::reference {

inline Matrix norm(const Matrix& x, const Weights& weights, const std::string& prefix) {
  return weights.layer_norm(x, prefix, VitConfig{.epsilon = 1e-5f});
}

/// x + mlp(norm(x)) of a block.
inline Matrix add_mlp(const Matrix& x, const Weights& weights, const std::string& block, Activation activation) {
  return add(x, mlp(norm(x, weights, block + ".norm2"), weights, block + ".mlp", activation));
}

/// Four neighbours side by side, column after column, norm, linear.
inline Matrix merge(const Matrix& x, MapSize map, const Weights& weights, const std::string& prefix) {
  Matrix joined(map.places() / 4, 4 * x.cols);
  for (Index place = 0; place < map.places(); ++place) {
    const Index row = place / map.width, column = place % map.width, part = column % 2 * 2 + row % 2;
    std::copy_n(x.row(place), x.cols, joined.row(row / 2 * (map.width / 2) + column / 2) + part * x.cols);
  }
  return weights.linear(norm(joined, weights, prefix + ".norm"), prefix + ".reduction");
}

/// Logits of an image.
inline Matrix swin(std::span<const float> image, const Weights& weights) {
  constexpr SwinConfig config;
  const Maps patches = convolution(Maps(1, config.image_size(), config.channels, image), weights,
                                   "stages.0.embedding.projection", {config.patch, config.patch, 0});
  Matrix x = norm(patches.matrix(), weights, "stages.0.embedding.norm");
  for (Index stage = 0; stage < config.stages(); ++stage) {
    const std::string name = "stages." + std::to_string(stage);
    if (stage > 0) x = merge(x, config.map(stage - 1), weights, name + ".embedding");
    const WindowAttentionConfig attention{.dim = config.stage_dim(stage), .heads = config.stage_heads(stage)};
    for (Index number = 0; number < config.depth(stage); ++number) {
      const std::string block = name + ".blocks." + std::to_string(number);
      const Index shift = number % 2 == 1 ? config.stage_shift(stage) : 0;
      x = add(
          x,
          WindowAttention(attention, weights, config.map(stage), shift, block + ".norm1", block + ".attention").run(x));
      x = add_mlp(x, weights, block, config.activation);
    }
  }
  x = norm(x, weights, "norm");
  Matrix mean(1, x.cols);
  for (Index row = 0; row < x.rows; ++row)
    for (Index col = 0; col < x.cols; ++col) mean(0, col) += x(row, col) / static_cast<double>(x.rows);
  return weights.linear(mean, "head");
}

/// The stream of a stage of CvT from the map before it.
inline Matrix cvt_embedding(const Maps& map, const CvtConfig& config, Index stage, const Weights& weights,
                            const std::string& prefix) {
  const Maps projected = convolution(map, weights, prefix + ".projection", config.embedding_window(stage));
  const Matrix places = norm(projected.matrix(), weights, prefix + ".norm");
  if (config.class_tokens(stage) == 0) return places;
  Matrix stream(1 + places.rows, places.cols);
  std::copy_n(weights[prefix + ".class_token"].data(), places.cols, stream.row(0));
  std::copy(places.values.begin(), places.values.end(), stream.row(1));
  return stream;
}

/// Logits of an image.
inline Matrix cvt(std::span<const float> image, const Weights& weights) {
  constexpr CvtConfig config;
  Maps map(1, config.image_size(), config.channels, image);
  Matrix x(0, 0);
  for (Index stage = 0; stage < config.stages(); ++stage) {
    const std::string name = "stages." + std::to_string(stage);
    x = cvt_embedding(map, config, stage, weights, name + ".embedding");
    const ConvolutionalAttentionConfig attention{.dim = config.stage_dim(stage),
                                                 .heads = CvtConfig::of(config.heads, stage),
                                                 .class_tokens = config.class_tokens(stage)};
    for (Index number = 0; number < config.depth(stage); ++number) {
      const std::string block = name + ".blocks." + std::to_string(number);
      x = add(x, convolutional_attention(norm(x, weights, block + ".norm1"), attention, 1, config.map(stage), weights,
                                         block + ".attention", NormStatistics::running));
      x = add_mlp(x, weights, block, config.activation);
    }
    map = Maps(1, config.map(stage), config.stage_dim(stage));
    if (stage + 1 < config.stages()) map.values = x.values;
  }
  return weights.linear(norm(x.rows_of(0, 1), weights, "norm"), "head");
}

}  // namespace moevit::reference
