/// Random numbers for training that depend on a seed and on what they are for, never on threads or on an order.
#pragma once

#include <moevit/core/index.hpp>
#include <moevit/core/mix_bits.hpp>

#include <concepts>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

/// Random numbers from a counter: the n-th one depends on the seed, the keys (an epoch, the number of an image) and n
/// alone. Made from integers without the standard library's distributions, which differ between its implementations.
class RandomStream {
 public:
  template <std::integral... Keys>
  explicit RandomStream(std::uint64_t seed, Keys... keys) : stream_(detail::stream_of(seed, keys...)) {}

  std::uint64_t bits() { return detail::mix_bits(stream_ + counter_++); }
  /// In [0, 1), all multiples of 2^-53.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  /// In [low, high).
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// True with this probability.
  bool coin(double probability) { return uniform() < probability; }
  /// 0 .. count - 1, each as likely as the others; count must be positive.
  Index below(Index count) {
    const auto range = static_cast<std::uint64_t>(count);
    const std::uint64_t uneven = (0 - range) % range;  // 2^64 modulo range: as many values would come once too often
    std::uint64_t value = bits();
    while (value < uneven) value = bits();
    return static_cast<Index>(value % range);
  }

 private:
  std::uint64_t stream_;
  std::uint64_t counter_ = 0;
};

namespace detail {

/// 0, 1, ..., count - 1.
inline std::vector<Index> whole_numbers(Index count) {
  std::vector<Index> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), Index{0});
  return numbers;
}

}  // namespace detail

/// Puts the values into random order, each order equally likely (Fisher and Yates).
template <class T>
void shuffle(std::span<T> values, RandomStream& random) {
  for (std::size_t left = values.size(); left > 1; --left)
    std::swap(values[left - 1], values[static_cast<std::size_t>(random.below(static_cast<Index>(left)))]);
}

}  // namespace moevit
