/// Window attention as plain loops in double precision.
#pragma once

#include "reference_model.hpp"

#include <moevit/layers/window_attention.hpp>

#include <algorithm>
#include <cmath>

namespace moevit::reference {

/// Attention of one map as the paper's code has it: pad, roll, cut, mask, all by coordinates.
template <WindowAttentionConfig config>
class WindowAttention {
  static constexpr Index window = config.window, heads = config.heads, width = config.dim / heads;

 public:
  WindowAttention(const Weights& weights, MapSize map, Index shift)
      : weights_(weights),
        map_(map),
        shift_(shift),
        height_(round_up(map.height, window)),
        width_(round_up(map.width, window)) {}

  Matrix run(const Matrix& x) const {
    const Matrix normed = weights_.layer_norm(x, "norm", VitConfig{.epsilon = config.epsilon});
    Matrix padded(height_ * width_, config.dim);
    for (Index y = 0; y < map_.height; ++y)
      for (Index column = 0; column < map_.width; ++column)
        std::copy_n(normed.row(y * map_.width + column), config.dim, padded.row(y * width_ + column));
    const auto q = weights_.linear(padded, "attention.query"), k = weights_.linear(padded, "attention.key"),
               v = weights_.linear(padded, "attention.value");
    Matrix mixed(x.rows, config.dim);
    for (Index y = 0; y < map_.height; ++y)
      for (Index column = 0; column < map_.width; ++column)
        for (Index head = 0; head < heads; ++head)
          mix(q, k, v, {y, column}, head, mixed.row(y * map_.width + column) + head * width);
    return weights_.linear(mixed, "attention.output");
  }

 private:
  struct Place {
    Index y, x;
  };
  Place roll(Place place) const {
    return {(place.y - shift_ + height_) % height_, (place.x - shift_ + width_) % width_};
  }
  Index slice(Index position, Index extent) const {
    if (shift_ == 0 || position < extent - window) return 0;
    return position < extent - shift_ ? 1 : 2;
  }
  /// Factor * score + bias + mask of two places that share a window.
  double logit(const Matrix& q, const Matrix& k, Place query, Place key, Index head) const {
    const Place a = roll(query), b = roll(key);
    double sum = 0;
    for (Index i = head * width; i < (head + 1) * width; ++i)
      sum += q(query.y * width_ + query.x, i) * k(key.y * width_ + key.x, i);
    const bool is_masked = slice(a.y, height_) != slice(b.y, height_) || slice(a.x, width_) != slice(b.x, width_);
    const Index difference = (a.y - b.y + window - 1) * (2 * window - 1) + a.x - b.x + window - 1;
    return sum / std::sqrt(double(width)) + weights_.matrix("attention.relative_position_bias")(difference, head) -
           (is_masked ? 100. : 0.);
  }
  void mix(const Matrix& q, const Matrix& k, const Matrix& v, Place query, Index head, double* out) const {
    double total = 0, top = -INFINITY;
    const Place first = roll(query);
    const auto each = [&](auto visit) {  // the places that share the window
      for (Index i = 0; i < window; ++i)
        for (Index j = 0; j < window; ++j) {
          const Place key{(first.y / window * window + i + shift_) % height_,
                          (first.x / window * window + j + shift_) % width_};
          visit(logit(q, k, query, key, head), key.y * width_ + key.x);
        }
    };
    each([&](double value, Index) { top = std::max(top, value); });
    each([&](double value, Index) { total += std::exp(value - top); });
    each([&](double value, Index row) {
      for (Index i = 0; i < width; ++i) out[i] += std::exp(value - top) / total * v(row, head * width + i);
    });
  }

  const Weights& weights_;
  MapSize map_;
  Index shift_, height_, width_;
};

}  // namespace moevit::reference
