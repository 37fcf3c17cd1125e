/// Standard normal noise for routers, reproducible from a seed.
#pragma once

#include <moevit/core/mix_bits.hpp>
#include <moevit/moe/routing_options.hpp>

#include <cmath>
#include <cstdint>
#include <numbers>

namespace moevit {

/// Standard normal values by Box and Muller (1958) from a counter, so that the n-th value depends on seed, block and n
/// alone. Every fill() of a block goes on where the last one ended; the state is the seed and one counter.
class GaussianNoise : public NoiseSource {
 public:
  explicit GaussianNoise(std::uint64_t seed) : seed_(seed) {}

  void fill(int block, std::span<float> values) override {
    const std::uint64_t stream = detail::mix_bits(seed_ ^ detail::mix_bits(static_cast<std::uint64_t>(block)));
    for (float& value : values) value = normal(stream, counter_++);
  }

  std::uint64_t counter() const { return counter_; }
  void set_counter(std::uint64_t counter) { counter_ = counter; }

 private:
  static float normal(std::uint64_t stream, std::uint64_t counter) {
    const std::uint64_t first = detail::mix_bits(stream + 2 * counter),
                        second = detail::mix_bits(stream + 2 * counter + 1);
    const double radius = std::sqrt(-2. * std::log((static_cast<double>(first >> 11) + 1.) * 0x1p-53));
    return static_cast<float>(radius * std::cos(2. * std::numbers::pi * static_cast<double>(second >> 11) * 0x1p-53));
  }

  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

}  // namespace moevit
