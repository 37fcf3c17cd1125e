/// Comparison of results that must not differ at all; -0 is not 0, and a NaN is itself.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace moevit::test {

inline bool same_bits(std::span<const std::byte> a, std::span<const std::byte> b) { return std::ranges::equal(a, b); }
inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return same_bits(std::as_bytes(a), std::as_bytes(b));
}

}  // namespace moevit::test
