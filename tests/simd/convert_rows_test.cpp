#include "simd/reduced.hpp"

#include <moevit/simd/bf16_weights.hpp>
#include <moevit/simd/cpu_features.hpp>
#include <moevit/simd/dot_avx512.hpp>

#include <iostream>

using namespace moevit;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::byte canary{0x5a};

/// Rows that try every rounding: normal values, ties, denormals, zeros, infinities and NaN.
std::vector<float> difficult_rows(Index rows, Index width) {
  std::vector<float> x = test::normal_values(rows * width, 5);
  for (Index row = 0; row < rows; ++row)
    for (Index i = 0; i < width; ++i) {
      float& value = x[static_cast<std::size_t>(row * width + i)];
      if (row % 8 == 1) value = static_cast<float>(i % 255 - 127) / 2.f;  // halves, if 127 is the largest size
      if (row % 8 == 2) value *= 0x1p-140f;
      if (row % 8 == 3) value = 0.f;
      if (row % 8 == 4) value *= 0x1p120f;
      if (row % 8 == 5) value *= 0x1p-118f;
    }
  if (rows > 1) x[static_cast<std::size_t>(width)] = 127.f;
  if (rows > 6) x[static_cast<std::size_t>(7 * width - 1)] = std::numeric_limits<float>::quiet_NaN();
  if (rows > 7) x[static_cast<std::size_t>(7 * width)] = -infinity;
  return x;
}

simd::RowTiles tiles_in(AlignedBuffer<std::byte>& room, simd::RowFormat format, Index rows, Index width) {
  return {.data = room.data(),
          .rows = rows,
          .width = width,
          .row_bytes = simd::tiled_row_bytes(width),
          .most_rows = 6,
          .format = format};
}

/// The tile that a row is in.
simd::RowTile tile_of(const simd::RowTiles& tiles, Index row) {
  const simd::TileList list = tiles.tiles();
  for (Index number = 0; number < list.count(); ++number)
    if (row < list[number].first_row + list[number].rows) return list[number];
  FAIL("row " << row << " is in no tile");
  return {};
}

/// Byte `index` of a row, counted through its lines.
std::byte byte_of(const simd::RowTiles& tiles, Index row, Index index) {
  const simd::RowTile tile = tile_of(tiles, row);
  return tile.row_data(row - tile.first_row)[index / simd::line_bytes * tile.line_step + index % simd::line_bytes];
}

void check_bf16(const simd::RowTiles& tiles, const std::vector<float>& x) {
  Index wrong = 0;
  for (Index row = 0; row < tiles.rows; ++row)
    for (Index i = 0; i < round_up(tiles.width, 32); ++i) {
      const int found =
          std::to_integer<int>(byte_of(tiles, row, 2 * i)) | std::to_integer<int>(byte_of(tiles, row, 2 * i + 1)) << 8;
      wrong += found != (i < tiles.width ? simd::bf16_bits(x[static_cast<std::size_t>(row * tiles.width + i)]) : 0);
    }
  CHECK(wrong == 0);
}

void check_int8(const simd::RowTiles& tiles, const std::vector<float>& x) {
  for (Index row = 0; row < tiles.rows; ++row) {
    const float* values = x.data() + row * tiles.width;
    float largest = 0.f;
    bool is_finite = true;
    for (Index i = 0; i < tiles.width; ++i) {
      largest = std::max(largest, std::abs(values[i]));
      is_finite = is_finite && std::isfinite(values[i]);
    }
    const bool is_empty = !is_finite || largest < 0x1p-120f;
    Index wrong = 0;
    for (Index i = 0; i < round_up(tiles.width, 64); ++i) {
      if (i >= round_up(tiles.width, 64) - 4 && tiles.row_bytes == simd::line_bytes) continue;  // the scale
      const float quotient = is_empty || i >= tiles.width ? 0.f : values[i] * (127.f / largest);
      wrong += std::to_integer<int>(byte_of(tiles, row, i)) != static_cast<int>(std::nearbyint(quotient)) + 128;
    }
    CHECK(wrong == 0);
    const simd::RowTile tile = tile_of(tiles, row);
    float scale = 0.f;
    std::memcpy(&scale, tile.row_scale(row - tile.first_row), sizeof scale);
    CAPTURE(row, scale, largest);
    CHECK((is_finite ? scale == (is_empty ? 0.f : largest / 127.f) : std::isnan(scale)));
  }
}

/// Fills tiles from rows and from tiles of floats in place, and checks both.
template <class Arch>
void check_formats(Index rows, Index width) {
  CAPTURE(rows, width);
  const std::vector<float> x = difficult_rows(rows, width);
  for (const simd::RowFormat format : {simd::RowFormat::bfloat16, simd::RowFormat::int8}) {
    AlignedBuffer<std::byte> room(rows * simd::tiled_row_bytes(width) + 1);
    std::fill_n(room.data(), room.size(), canary);
    const auto check = format == simd::RowFormat::int8 ? check_int8 : check_bf16;
    const simd::RowTiles tiles = tiles_in(room, format, rows, width);
    const auto row_of = [&](Index row) { return x.data() + row * width; };
    simd::fill_tiles<Arch>(tiles, row_of);
    check(tiles, x);
    std::fill_n(room.data(), room.size(), canary);
    simd::fill_tiles<Arch>(tiles_in(room, simd::RowFormat::float32, rows, width), row_of);
    simd::convert_in_place<Arch>(tiles);
    check(tiles, x);
    CHECK(room[room.size() - 1] == canary);
  }
}

}  // namespace

TEST_CASE("rows become bfloat16 and int8 lines, from rows as in place") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const Index width : {1, 2, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 127, 129, 200, 320})
      for (const Index rows : {1, 2, 13}) check_formats<Arch>(rows, width);
  });
}

#if defined(__x86_64__)
TEST_CASE("AVX512_BF16 converts rows as the others do, with zeros for denormals") {
  if (!simd::cpu_features().avx512_bf16) {
    std::cout << "skipped: this machine has no AVX512_BF16\n";
    return;
  }
  for (const Index width : {1, 31, 32, 33, 64, 200}) {
    constexpr Index rows = 13;
    std::vector<float> x = difficult_rows(rows, width);
    AlignedBuffer<std::byte> room(rows * simd::tiled_row_bytes(width));
    simd::RowTiles tiles = tiles_in(room, simd::RowFormat::bfloat16, rows, width);
    tiles.put_row = simd::bf16_dot_kernel.put_row;
    simd::fill_tiles(tiles, [&](Index row) { return x.data() + row * width; });
    for (float& value : x)
      if (std::abs(value) < std::numeric_limits<float>::min()) value = std::copysign(0.f, value);
    check_bf16(tiles, x);
  }
}
#endif

TEST_CASE("a hidden layer that a product wrote as floats is the left operand of the next product") {
  test::for_each_architecture([]<class Arch>(Arch) {
    const test::Operands first{.rows = 29, .inputs = 20, .outputs = 70};
    test::Operands second{.rows = 29, .inputs = 70, .outputs = 33};
    const auto check = [&](const simd::TileKernel& kernel) {
      CAPTURE(kernel.name);
      second.x = first.multiply<Arch>(kernel);
      const test::PackedWeights w(kernel, first.w, 20, 70), next(kernel, second.w, 70, 33);
      AlignedBuffer<std::byte> room(29 * simd::tiled_row_bytes(20)), hidden_room(29 * simd::tiled_row_bytes(70));
      const simd::RowTiles hidden = simd::empty_tiles<Arch>(29, next.view, hidden_room.data());
      const simd::RowTiles x = simd::tile_rows<Arch>(29, first.x.data(), 20, w.view, room.data());
      simd::gemm<Arch>(x, w.view, {}, simd::TilesOut{hidden});  // cut as x is: both layers have the same kernel
      simd::convert_in_place<Arch>(hidden);
      std::vector<float> y(29 * 33);
      simd::gemm<Arch>(hidden, next.view, {}, simd::RowsOut{y.data(), 33});
      CHECK(test::same_bits(y, second.multiply<Arch>(kernel)));
    };
    check(simd::bf16_weights_kernel<Arch>);
    check(simd::int8_widening_kernel<Arch>);
#if defined(__x86_64__)
    if (simd::cpu_features().avx512_bf16) check(simd::bf16_dot_kernel);
    if (simd::cpu_features().avx512_vnni) check(simd::int8_vnni_kernel);
#endif
  });
}
