/// The attention within windows of Swin as plain loops in double precision.
#pragma once

#include "reference_model.hpp"

#include <moevit/layers/window_attention.hpp>

#include <string>
#include <utility>

namespace moevit::reference {

/// Attention of one map as the paper's code has it: pad, roll, cut, mask, all by coordinates.
class WindowAttention {
 public:
  /// `norm` and `attention` begin the names of weights.
  WindowAttention(const WindowAttentionConfig& config, const Weights& weights, MapSize map, Index shift,
                  std::string norm = "norm", std::string attention = "attention")
      : config_(config),
        weights_(weights),
        map_(map),
        shift_(shift),
        norm_(std::move(norm)),
        attention_(std::move(attention)),
        height_(round_up(map.height, config.window)),
        width_(round_up(map.width, config.window)) {}

  /// attention(norm(x))
  Matrix run(const Matrix& x) const {
    const Matrix normed = weights_.layer_norm(x, norm_, VitConfig{.epsilon = config_.epsilon});
    Matrix padded(height_ * width_, config_.dim);
    for (Index y = 0; y < map_.height; ++y)
      for (Index column = 0; column < map_.width; ++column)
        std::copy_n(normed.row(y * map_.width + column), config_.dim, padded.row(y * width_ + column));
    const Matrix q = weights_.linear(padded, attention_ + ".query"), k = weights_.linear(padded, attention_ + ".key"),
                 v = weights_.linear(padded, attention_ + ".value");
    Matrix mixed(x.rows, config_.dim);
    for (Index y = 0; y < map_.height; ++y)
      for (Index column = 0; column < map_.width; ++column)
        for (Index head = 0; head < config_.heads; ++head)
          mix(q, k, v, {y, column}, head, mixed.row(y * map_.width + column) + head * head_width());
    return weights_.linear(mixed, attention_ + ".output");
  }

 private:
  struct Place {
    Index y, x;
  };
  Index head_width() const { return config_.dim / config_.heads; }
  Place roll(Place place, Index by) const {
    return {(place.y + by + height_) % height_, (place.x + by + width_) % width_};
  }
  Index slice(Index position, Index extent) const {
    if (shift_ == 0 || position < extent - config_.window) return 0;
    return position < extent - shift_ ? 1 : 2;
  }
  /// Factor * score + bias + mask of two rolled places of a window.
  double logit(const Matrix& q, const Matrix& k, Place a, Place b, Index head) const {
    const Place query = roll(a, shift_), key = roll(b, shift_);
    const Index window = config_.window;
    double sum = 0;
    for (Index i = head * head_width(); i < (head + 1) * head_width(); ++i)
      sum += q(query.y * width_ + query.x, i) * k(key.y * width_ + key.x, i);
    const bool is_masked = slice(a.y, height_) != slice(b.y, height_) || slice(a.x, width_) != slice(b.x, width_);
    const Index difference = (a.y - b.y + window - 1) * (2 * window - 1) + a.x - b.x + window - 1;
    return sum / std::sqrt(static_cast<double>(head_width())) +
           weights_.matrix(attention_ + ".relative_position_bias")(difference, head) - (is_masked ? 100. : 0.);
  }
  void mix(const Matrix& q, const Matrix& k, const Matrix& v, Place query, Index head, double* out) const {
    const Place a = roll(query, -shift_);
    const Index window = config_.window, top = a.y / window * window, left = a.x / window * window;
    Values scores(static_cast<std::size_t>(window * window));
    const auto key = [&](std::size_t i) {
      return Place{top + static_cast<Index>(i) / window, left + static_cast<Index>(i) % window};
    };
    for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = logit(q, k, a, key(i), head);
    softmax_row(scores.data(), std::ssize(scores), 1.);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const Place place = roll(key(i), shift_);
      for (Index c = 0; c < head_width(); ++c)
        out[c] += scores[i] * v(place.y * width_ + place.x, head * head_width() + c);
    }
  }

  WindowAttentionConfig config_;
  const Weights& weights_;
  MapSize map_;
  Index shift_;
  std::string norm_, attention_;
  Index height_, width_;
};

}  // namespace moevit::reference
