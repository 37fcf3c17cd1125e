/// Random gates in place of a router's, for ablations.
#pragma once

#include <moevit/core/mix_bits.hpp>
#include <moevit/core/tensor.hpp>

#include <bit>
#include <cmath>
#include <cstdint>

namespace moevit {

/// Logits that say nothing: uniform in [0, 1), from a hash of the token's own values, the block and the seed. So a
/// token is routed the same way in any batch, and its experts are unrelated to the ones that any router would choose.
/// x: tokens x D, logits: tokens x E.
inline void random_logits(ConstMatrixView x, int block, std::uint64_t seed, MatrixView logits) {
  for (Index token = 0; token < x.rows(); ++token) {
    std::uint64_t state = detail::mix_bits(seed ^ (static_cast<std::uint64_t>(block) << 32));
    for (Index i = 0; i < x.cols(); ++i) state = detail::mix_bits(state ^ std::bit_cast<std::uint32_t>(x(token, i)));
    for (Index expert = 0; expert < logits.cols(); ++expert) {
      state = detail::mix_bits(state);
      logits(token, expert) = static_cast<float>(state >> 40) * 0x1p-24f;
    }
  }
}

}  // namespace moevit
