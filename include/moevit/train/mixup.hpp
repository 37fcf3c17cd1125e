/// Which images of a batch mixup mixes, and in which shares.
#pragma once

#include <moevit/train/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// Partners and shares for mix_rows(): image i becomes shares[i] of itself and the rest of images[partners[i]].
struct Mixture {
  std::vector<Index> partners;
  std::vector<float> shares;
};

/// A value of Beta(alpha, alpha) by Jöhnk (1964): fast for the small alphas of mixup. alpha must be above 0.
inline double symmetric_beta(double alpha, RandomStream& random) {
  for (;;) {
    const double first = std::pow(random.uniform(), 1. / alpha), second = std::pow(random.uniform(), 1. / alpha);
    if (const double sum = first + second; sum > 0 && sum <= 1) return first / sum;
  }
}

/// One share for the whole batch from Beta(alpha, alpha), and partners in random order (Zhang et al. 2018). Depends on
/// the seed and the step alone.
inline Mixture draw_mixture(Index images, double alpha, std::uint64_t seed, Index step) {
  constexpr std::uint64_t mixup_stream = 0x6d69787570;  // apart from the streams of epochs and images
  RandomStream random(seed, mixup_stream, step);
  const auto share = static_cast<float>(symmetric_beta(alpha, random));
  Mixture mixture{detail::whole_numbers(images), std::vector<float>(static_cast<std::size_t>(images), share)};
  shuffle(std::span(mixture.partners), random);
  return mixture;
}

}  // namespace moevit
