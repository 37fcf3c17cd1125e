/// The convolutional attention of CvT as plain loops in double precision.
#pragma once

#include "layers/reference_maps.hpp"
#include "reference_model.hpp"

#include <moevit/layers/convolutional_attention.hpp>

namespace moevit::reference {

/// (x - mean) / sqrt(variance + epsilon) * scale + bias by channels; statistics of the batch unless running ones are
/// asked for.
inline Matrix batch_norm(Matrix x, const Weights& weights, const std::string& prefix, NormStatistics statistics,
                         double epsilon) {
  for (Index c = 0; c < x.cols; ++c) {
    const auto at = static_cast<std::size_t>(c);
    double mean = weights[prefix + ".running_mean"][at], variance = weights[prefix + ".running_variance"][at];
    if (statistics == NormStatistics::batch) {
      mean = variance = 0.;
      for (Index r = 0; r < x.rows; ++r) mean += x(r, c) / static_cast<double>(x.rows);
      for (Index r = 0; r < x.rows; ++r) variance += std::pow(x(r, c) - mean, 2) / static_cast<double>(x.rows);
    }
    for (Index r = 0; r < x.rows; ++r)
      x(r, c) = (x(r, c) - mean) / std::sqrt(variance + epsilon) * weights[prefix + ".scale"][at] +
                weights[prefix + ".bias"][at];
  }
  return x;
}

/// The rows of class tokens, or those of places, of a stream.
inline Matrix token_rows(const Matrix& stream, Index images, Index class_tokens, bool places) {
  const Index tokens = images > 0 ? stream.rows / images : 0, first = places ? class_tokens : 0;
  const Index count = places ? tokens - class_tokens : class_tokens;
  Matrix part(images * count, stream.cols);
  for (Index image = 0; image < images; ++image)
    for (Index row = 0; row < count; ++row)
      std::copy_n(stream.row(image * tokens + first + row), stream.cols, part.row(image * count + row));
  return part;
}

/// Queries, keys or values of normalised tokens.
inline Matrix convolutional_projection(const Matrix& x, const ConvolutionalProjectionConfig& config, Index images,
                                       MapSize map, const Weights& weights, const std::string& prefix,
                                       NormStatistics statistics) {
  Maps maps(images, map, x.cols);
  maps.values = token_rows(x, images, config.class_tokens, true).values;
  const Matrix places =
      batch_norm(convolution(maps, weights[prefix + ".convolution.kernel"], {}, config.window, x.cols, true).matrix(),
                 weights, prefix + ".norm", statistics, static_cast<double>(config.epsilon));
  const Matrix class_tokens = token_rows(x, images, config.class_tokens, false);
  const Index own = config.window.result_size(map).places(), tokens = own + config.class_tokens;
  Matrix all(images * tokens, x.cols);
  for (Index image = 0; image < images; ++image)
    for (Index row = 0; row < tokens; ++row)
      std::copy_n(row < config.class_tokens ? class_tokens.row(image * config.class_tokens + row)
                                            : places.row(image * own + row - config.class_tokens),
                  x.cols, all.row(image * tokens + row));
  return weights.linear(all, prefix);
}

/// attention(x) for normalised tokens x.
inline Matrix convolutional_attention(const Matrix& x, const ConvolutionalAttentionConfig& config, Index images,
                                      MapSize map, const Weights& weights, const std::string& prefix,
                                      NormStatistics statistics) {
  const auto project = [&](const char* name, const ConvolutionalProjectionConfig& part) {
    return convolutional_projection(x, part, images, map, weights, prefix + name, statistics);
  };
  const Matrix q = project(".query", config.query()), k = project(".key", config.key_value()),
               v = project(".value", config.key_value());
  Matrix mixed(q.rows, q.cols);
  const Index width = config.dim / config.heads;
  for (Index image = 0; image < images; ++image)
    for (Index head = 0; head < config.heads; ++head) {
      const auto part = [&](const Matrix& all) {
        return all.rows_of(image * (all.rows / images), all.rows / images).cols_of(head * width, width);
      };
      const Matrix own = attention_head(part(q), part(k), part(v), 1. / std::sqrt(static_cast<double>(config.dim)));
      for (Index row = 0; row < own.rows; ++row)
        std::copy_n(own.row(row), width, mixed.row(image * own.rows + row) + head * width);
    }
  return weights.linear(mixed, prefix + ".output");
}

}  // namespace moevit::reference
