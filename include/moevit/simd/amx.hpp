/// Products of bfloat16 and of int8 numbers with AMX.
///
/// The processor has eight tiles of 16 rows x 64 bytes. Four hold the sums of two tiles of rows times two halves of a
/// panel, 16 columns each; two hold a line of every row, two the 16 units of every column that belong to it. So each of
/// the four loads of a line is used twice. RowTiles and PackedView lie in memory as the loads want them.
#pragma once

#include <moevit/simd/tile_kernel.hpp>

#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// What ldtilecfg reads.
struct alignas(64) AmxConfig {
  std::uint8_t palette = 0;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(AmxConfig) == 64);

namespace detail {

inline constexpr int amx_rows = 16;

/// Numbers of the tiles: the sums of row tile r and column half c, the lines of r, the units of c.
constexpr int amx_sums(int r, int c) { return 2 * r + c; }
constexpr int amx_lines(int r) { return 4 + r; }
constexpr int amx_units(int c) { return 6 + c; }

/// Tiles of `most_rows` rows. A lower tile of rows is read one line too far, into the next tile: the last one of
/// RowTiles is never lower than the others. What comes of that line is not used.
inline AmxConfig amx_config(Index most_rows) {
  AmxConfig config;
  config.palette = 1;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = line_bytes;
    config.rows[tile] = tile < amx_units(0) ? static_cast<std::uint8_t>(most_rows) : amx_rows;
  }
  return config;
}

#if defined(__x86_64__)

/// The processor's tiles. Assembly, since the intrinsics of g++ 12 are macros that take a literal for the number of a
/// tile, and their loads do not say that they read memory.
struct HardwareTiles {
  static void configure(const AmxConfig& config) { asm volatile("ldtilecfg %0" : : "m"(config)); }
  static void release() { asm volatile("tilerelease"); }
  template <int tile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(tile));
  }
  template <int tile>
  static void load(const std::byte* data, Index stride) {
    asm volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(tile), "r"(data), "r"(stride) : "memory");
  }
  template <int tile>
  static void store(std::byte* data, Index stride) {
    asm volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(tile), "r"(data), "r"(stride) : "memory");
  }
  template <int sums, int lines, int units>
  static void multiply_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(lines), "i"(units));
  }
  template <int sums, int lines, int units>
  static void multiply_int8() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(lines), "i"(units));
  }
};

#endif

/// The sums of one or two tiles of rows times one or two halves of a panel.
template <class Tiles, WeightFormat format, int row_tiles, int halves>
void multiply_amx_block(const TileCall* calls) {
  const auto for_each = []<int... i>(std::integer_sequence<int, i...>, auto visit) {
    (visit(std::integral_constant<int, i>{}), ...);
  };
  constexpr std::make_integer_sequence<int, row_tiles> all_rows;
  constexpr std::make_integer_sequence<int, halves> all_halves;
  const auto for_each_sum = [&](auto visit) {
    for_each(all_rows, [&](auto r) { for_each(all_halves, [&](auto c) { visit(r, c); }); });
  };
  for_each_sum([](auto r, auto c) { Tiles::template zero<amx_sums(r, c)>(); });
  const Index stride = calls[0].panel * 4, lines = ceil_div(calls[0].units, amx_rows);
  for (Index line = 0; line < lines; ++line) {
    for_each(all_halves, [&](auto c) {
      Tiles::template load<amx_units(c)>(calls[0].weights + line * amx_rows * stride + c * line_bytes, stride);
    });
    for_each(all_rows, [&](auto r) {
      Tiles::template load<amx_lines(r)>(calls[r].x + line * calls[r].rows * line_bytes, line_bytes);
    });
    for_each_sum([](auto r, auto c) {
      if constexpr (format == WeightFormat::bfloat16)
        Tiles::template multiply_bf16<amx_sums(r, c), amx_lines(r), amx_units(c)>();
      else
        Tiles::template multiply_int8<amx_sums(r, c), amx_lines(r), amx_units(c)>();
    });
  }
  for_each_sum([&](auto r, auto c) {
    Tiles::template store<amx_sums(r, c)>(reinterpret_cast<std::byte*>(calls[r].out + 16 * c), calls[r].out_stride * 4);
  });
}

template <class Tiles, WeightFormat format, int row_tiles>
void multiply_amx(const TileCall* calls) {
  const auto multiply = calls[0].columns == 16 ? &multiply_amx_block<Tiles, format, row_tiles, 1>
                                               : &multiply_amx_block<Tiles, format, row_tiles, 2>;
  multiply(calls);
}

/// `Tiles` are the processor's, or those of a test in plain C++.
template <class Tiles, WeightFormat format>
constexpr TileKernel amx_kernel(const char* name) {
  return {.name = name,
          .weights = format,
          .rows = format == WeightFormat::bfloat16 ? RowFormat::bfloat16 : RowFormat::int8,
          .most_rows = amx_rows,
          .columns = 32,
          .lanes = 16,
          .multiply = [](const TileCall& call) { multiply_amx<Tiles, format, 1>(&call); },
          .multiply_two =
              [](const TileCall& first, const TileCall& second) {
                const TileCall calls[] = {first, second};
                multiply_amx<Tiles, format, 2>(calls);
              },
          .begin = [](Index most_rows) { Tiles::configure(amx_config(most_rows)); },
          .end = [] { Tiles::release(); },
          .sums_only = true};
}

}  // namespace detail

#if defined(__x86_64__)

/// bfloat16 rows and weights with AMX: sums are floats, denormals are taken for zero. The process must be allowed to
/// use the tiles: may_use_amx() of simd/cpu_features.hpp.
inline constexpr TileKernel bf16_amx_kernel =
    detail::amx_kernel<detail::HardwareTiles, WeightFormat::bfloat16>("bf16/amx");

/// int8 with AMX; as above.
inline constexpr TileKernel int8_amx_kernel = detail::amx_kernel<detail::HardwareTiles, WeightFormat::int8>("int8/amx");

#endif

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
