/// Random bits from counters: what a hash makes of a seed and of what the bits are for.
#pragma once

#include <concepts>
#include <cstdint>

namespace moevit::detail {

/// One step of the SplitMix64 generator (Steele, Lea, Flood 2014).
constexpr std::uint64_t mix_bits(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15ull;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

/// Where the numbers for a seed and keys begin: the n-th ones are mix_bits(stream + n).
template <std::integral... Keys>
constexpr std::uint64_t stream_of(std::uint64_t seed, Keys... keys) {
  std::uint64_t stream = mix_bits(seed);
  ((stream = mix_bits(stream ^ static_cast<std::uint64_t>(keys))), ...);
  return stream;
}

}  // namespace moevit::detail
