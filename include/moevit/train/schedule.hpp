/// Learning rates by step.
#pragma once

#include <moevit/core/index.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace moevit {

/// What a schedule does after its warm-up.
enum class Decay : unsigned char {
  none,    ///< stays at the peak
  cosine,  ///< half a cosine from the peak to the end
  linear,  ///< a line from the peak to the end
  rsqrt    ///< peak / sqrt(1 + steps since the warm-up / timescale)
};

/// A line from `start` to `peak` over the warm-up, then a decay until `total` steps, then constant. The first step is
/// number 0.
struct Schedule {
  Decay decay = Decay::cosine;
  double peak = 1e-3;
  Index warmup = 0;     ///< steps
  Index total = 0;      ///< steps, the warm-up among them
  double start = 0;     ///< at step 0, when there is a warm-up
  double end = 0;       ///< at step `total` and later; rsqrt: only with a cooldown
  Index timescale = 0;  ///< rsqrt only, in steps; 0: the warm-up's, which gives peak * sqrt(warmup / step)
  Index cooldown = 0;   ///< rsqrt only: this many last steps lead to the end in a line

  constexpr bool operator==(const Schedule&) const = default;

  /// The learning rate of a step; below 0 that of step 0.
  constexpr double at(Index step) const {
    step = std::max(step, Index{0});
    if (step < warmup) return line(start, peak, share(step, warmup));
    switch (decay) {
      case Decay::cosine:
        return end + (peak - end) * 0.5 * (1. + std::cos(std::numbers::pi * share(step - warmup, total - warmup)));
      case Decay::linear:
        return line(peak, end, share(step - warmup, total - warmup));
      case Decay::rsqrt: {
        const Index decaying = std::max(total - cooldown, warmup);
        if (cooldown == 0 || step < decaying) return inverse_root(step - warmup);
        return line(inverse_root(decaying - warmup), end, share(step - decaying, total - decaying));
      }
      case Decay::none:
        break;
    }
    return peak;
  }

 private:
  /// done / all, at most 1; 1 when there is nothing to do.
  static constexpr double share(Index done, Index all) {
    return done >= all ? 1. : static_cast<double>(done) / static_cast<double>(all);
  }
  static constexpr double line(double from, double to, double way) { return from + (to - from) * way; }
  constexpr double inverse_root(Index steps) const {
    const Index scale = timescale > 0 ? timescale : std::max(warmup, Index{1});
    return peak / std::sqrt(1. + static_cast<double>(steps) / static_cast<double>(scale));
  }
};

}  // namespace moevit
