/// The tiles of AMX in plain C++, as Intel's manual specifies their instructions.
#pragma once

#include <moevit/simd/amx.hpp>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace moevit::test {

struct EmulatedTiles {
  static inline thread_local simd::AmxConfig config;
  static inline thread_local std::byte tiles[8][16][64];

  static void configure(const simd::AmxConfig& wanted) {
    config = wanted;
    std::memset(tiles, 0, sizeof tiles);
  }
  static void release() { config = {}; }
  static bool is_released() { return config.palette == 0; }

  template <int tile>
  static void zero() {
    std::memset(tiles[tile], 0, sizeof tiles[tile]);
  }
  template <int tile>
  static void load(const std::byte* data, Index stride) {
    zero<tile>();
    for (Index row = 0; row < config.rows[tile]; ++row)
      std::memcpy(tiles[tile][row], data + row * stride, config.row_bytes[tile]);
  }
  template <int tile>
  static void store(std::byte* data, Index stride) {
    for (Index row = 0; row < config.rows[tile]; ++row)
      std::memcpy(data + row * stride, tiles[tile][row], config.row_bytes[tile]);
  }

  /// tdpbf16ps: even and odd k are summed apart, from zero, by fused multiply-adds; then both are added to each other,
  /// then to the sum. Denormals are taken for zero and flushed to zero throughout.
  template <int sums, int lines, int units>
  static void multiply_bf16() {
    for (Index row = 0; row < config.rows[sums]; ++row)
      for (Index col = 0; col < config.row_bytes[sums] / 4; ++col) {
        float parts[2] = {0.f, 0.f};
        for (Index k = 0; k < config.row_bytes[lines] / 4; ++k)
          for (Index half = 0; half < 2; ++half)
            parts[half] = flushed(
                std::fma(bf16(tiles[lines][row], 2 * k + half), bf16(tiles[units][k], 2 * col + half), parts[half]));
        const float both = flushed(parts[0] + parts[1]);
        put(tiles[sums][row], col, flushed(flushed(get<float>(tiles[sums][row], col)) + both));
      }
  }
  /// tdpbusd: four unsigned bytes times four signed ones, without saturation.
  template <int sums, int lines, int units>
  static void multiply_int8() {
    for (Index row = 0; row < config.rows[sums]; ++row)
      for (Index col = 0; col < config.row_bytes[sums] / 4; ++col) {
        auto sum = get<std::int32_t>(tiles[sums][row], col);
        for (Index k = 0; k < config.row_bytes[lines] / 4; ++k)
          for (Index i = 0; i < 4; ++i)
            sum += std::to_integer<std::int32_t>(tiles[lines][row][4 * k + i]) *
                   get<std::int8_t>(tiles[units][k], 4 * col + i);
        put(tiles[sums][row], col, sum);
      }
  }

 private:
  template <class T>
  static T get(const std::byte* row, Index index) {
    T value;
    std::memcpy(&value, row + index * static_cast<Index>(sizeof value), sizeof value);
    return value;
  }
  template <class T>
  static void put(std::byte* row, Index index, T value) {
    std::memcpy(row + index * static_cast<Index>(sizeof value), &value, sizeof value);
  }
  static float flushed(float x) { return std::abs(x) < std::numeric_limits<float>::min() ? std::copysign(0.f, x) : x; }
  static float bf16(const std::byte* row, Index index) {
    return flushed(std::bit_cast<float>(std::uint32_t{get<std::uint16_t>(row, index)} << 16));
  }
};

}  // namespace moevit::test
