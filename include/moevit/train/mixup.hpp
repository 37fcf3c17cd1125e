/// Which images of a batch mixup or cutmix mixes, in which shares.
#pragma once

#include <moevit/train/random.hpp>
#include <moevit/train/targets.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// Partners and shares of a batch: image i becomes shares[i] of itself and the rest of images[partners[i]].
struct Mixture {
  std::vector<Index> partners;
  std::vector<float> shares;
  std::vector<PixelBox> boxes;  ///< cutmix: where the partner's pixels go; empty: mixup
};

/// How batches are mixed: the alphas of the Beta distributions of both kinds, up to 4; 0: not by that kind.
struct Mixing {
  double mixup = 0;
  double cutmix = 0;
  double cutmix_probability = 0.5;  ///< of cutmix, where both alphas are above 0
};

/// A value of Beta(alpha, alpha) by Jöhnk (1964): fast for the small alphas of mixup. alpha must be above 0.
inline double symmetric_beta(double alpha, RandomStream& random) {
  for (;;) {
    const double first = std::pow(random.uniform(), 1. / alpha), second = std::pow(random.uniform(), 1. / alpha);
    if (const double sum = first + second; sum > 0 && sum <= 1) return first / sum;
  }
}

namespace detail {

/// One share for the whole batch, and partners in random order.
inline Mixture draw_shares(Index images, double alpha, RandomStream& random) {
  const auto share = static_cast<float>(symmetric_beta(alpha, random));
  Mixture mixture{whole_numbers(images), std::vector<float>(static_cast<std::size_t>(images), share), {}};
  shuffle(std::span(mixture.partners), random);
  return mixture;
}

}  // namespace detail

/// Mixup: one share for the whole batch from Beta(alpha, alpha), and partners in random order (Zhang et al. 2018).
/// Depends on the seed and the step alone.
inline Mixture draw_mixture(Index images, double alpha, std::uint64_t seed, Index step) {
  constexpr std::uint64_t mixup_stream = 0x6d69787570;  // apart from the streams of epochs and images
  RandomStream random(seed, mixup_stream, step);
  return detail::draw_shares(images, alpha, random);
}

/// Cutmix: one box for the whole batch of images of height x width pixels, about 1 - share of their area with a share
/// from Beta(alpha, alpha), around any pixel; `shares` are what lies outside the box (Yun et al. 2019). Depends on the
/// seed and the step alone.
inline Mixture draw_cutmix(Index images, Index height, Index width, double alpha, std::uint64_t seed, Index step) {
  constexpr std::uint64_t cutmix_stream = 0x6375746d6978;
  RandomStream random(seed, cutmix_stream, step);
  Mixture mixture = detail::draw_shares(images, alpha, random);
  const float wanted = mixture.shares.empty() ? 1.f : mixture.shares.front();
  const Index row = random.below(height), column = random.below(width);
  mixture.boxes.assign(mixture.shares.size(), cutmix_box(height, width, wanted, row, column));
  for (std::size_t i = 0; i < mixture.shares.size(); ++i)
    mixture.shares[i] = cutmix_share(mixture.boxes[i], height, width);
  return mixture;
}

/// Whether cutmix mixes the batch of a step, not mixup.
inline bool is_cutmix_step(const Mixing& mixing, std::uint64_t seed, Index step) {
  if (mixing.mixup == 0 || mixing.cutmix == 0) return mixing.cutmix > 0;
  constexpr std::uint64_t choice_stream = 0x63686f696365;
  return RandomStream(seed, choice_stream, step).coin(mixing.cutmix_probability);
}

/// The mixture of a step by the kind that is_cutmix_step() says; one of the alphas must be above 0.
inline Mixture draw_mixture(Index images, Index height, Index width, const Mixing& mixing, std::uint64_t seed,
                            Index step) {
  return is_cutmix_step(mixing, seed, step) ? draw_cutmix(images, height, width, mixing.cutmix, seed, step)
                                            : draw_mixture(images, mixing.mixup, seed, step);
}

/// mixed = images (N x height * width * channels) mixed as the mixture says; another matrix. Throws Error when sizes do
/// not fit.
inline void mix_images(ConstMatrixView images, Index height, Index width, const Mixture& mixture, MatrixView mixed) {
  if (mixture.boxes.empty())
    mix_rows(images, mixture.partners, mixture.shares, mixed);
  else
    cutmix_images(images, height, width, mixture.partners, mixture.boxes, mixed);
}

}  // namespace moevit
