#include "simd/reduced.hpp"

#include <moevit/simd/bf16_weights.hpp>
#include <moevit/simd/cpu_features.hpp>
#include <moevit/simd/dot_avx512.hpp>

#include <iostream>

using namespace moevit;
using test::Operands;

namespace {

/// A bfloat16 as it lies in packed weights.
float element(const AlignedBuffer<std::uint32_t>& units, const simd::PackedView& view, Index row, Index col) {
  const Index panel_units = simd::column_units(view.format, view.rows) * view.panel;
  const std::uint32_t unit = units[col / view.panel * panel_units + row / 2 * view.panel + col % view.panel];
  return std::bit_cast<float>(row % 2 == 0 ? unit << 16 : unit & 0xffff0000u);
}

}  // namespace

TEST_CASE("bf16_bits rounds to the nearest, halves to even, and keeps every NaN") {
  CHECK(simd::bf16_bits(1.f) == 0x3f80);
  CHECK(simd::bf16_bits(1.00390625f) == 0x3f80);  // a tie to the even 1.0
  CHECK(simd::bf16_bits(1.01171875f) == 0x3f82);  // a tie to the even 1.015625
  CHECK(simd::bf16_bits(1.00390637f) == 0x3f81);
  CHECK(simd::bf16_bits(-0.f) == 0x8000);
  CHECK(simd::bf16_bits(std::numeric_limits<float>::denorm_min()) == 0);
  CHECK(simd::bf16_bits(std::bit_cast<float>(0x00018000u)) == 2);  // a denormal that ties
  CHECK(simd::bf16_bits(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(simd::bf16_bits(-std::numeric_limits<float>::infinity()) == 0xff80);
  for (const std::uint32_t nan : {0x7f800001u, 0xff80ffffu, 0x7fffffffu, 0x7fc00000u})
    CHECK((simd::bf16_bits(std::bit_cast<float>(nan)) & 0x7fff) > 0x7f80);
}

TEST_CASE("pack_bf16 places every element and pads with zeros, from rows as from panels") {
  for (const Index rows : {0, 1, 2, 31, 32, 33, 70})
    for (const Index cols : {1, 16, 17, 32, 33, 70}) {
      CAPTURE(rows, cols);
      const std::vector<float> w = test::normal_values(rows * (cols + 3), 1);
      const Index size = simd::packed_size(rows, cols, simd::WeightFormat::bfloat16);
      AlignedBuffer<std::uint32_t> units(size + 1), again(size + 1);
      units[size] = again[size] = 4711;
      const auto& kernel = simd::bf16_weights_kernel<>;
      const simd::PackedView view = simd::pack_bf16(w.data(), cols + 3, rows, cols, kernel, units.data());
      AlignedBuffer<float> floats(simd::packed_size(rows, cols));
      simd::pack_bf16(simd::pack(w.data(), cols + 3, rows, cols, floats.data()), kernel, again.data());
      CHECK(std::equal(units.data(), units.data() + size + 1, again.data()));
      CHECK(units[size] == 4711);
      Index wrong = 0;
      for (Index row = 0; row < round_up(rows, 32); ++row)
        for (Index col = 0; col < view.panels() * view.panel; ++col) {
          const bool exists = row < rows && col < cols;
          const float expected =
              exists ? simd::round_to_bf16(w[static_cast<std::size_t>(row * (cols + 3) + col)]) : 0.f;
          wrong += element(units, view, row, col) != expected;
        }
      CHECK(wrong == 0);
    }
}

TEST_CASE("bfloat16 weights in float arithmetic give the bits of floats that were rounded") {
  test::for_each_architecture([]<class Arch>(Arch) {
    const auto& kernel = simd::bf16_weights_kernel<Arch>;
    const auto check = [&](Index rows, Index inputs, Index outputs) {
      Operands operands{.rows = rows, .inputs = inputs, .outputs = outputs};
      const std::vector<float> found = operands.multiply<Arch>(kernel);
      operands.w = test::rounded_to_bf16(operands.w);
      CHECK(test::same_bits(found, operands.multiply<Arch>(simd::float_kernel<Arch>)));
    };
    test::for_sizes_around_tiles(kernel.most_rows, check);
    check(29, 2 * simd::detail::chunked_from + 5, 71);
    test::check_cuts<Arch>(kernel);
  });
}

TEST_CASE("bfloat16 weights keep denormals, infinities and NaN in float arithmetic") {
  test::for_each_architecture([]<class Arch>(Arch) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    Operands operands{.rows = 1, .inputs = 3, .outputs = 3};
    operands.x = {1.f, 1.f, 1.f};
    operands.w = {0x1p-130f, infinity, std::bit_cast<float>(0x7f800001u), 0x1p-130f, 1.f, 1.f, 0.f, 1.f, 1.f};
    const std::vector<float> y = operands.multiply<Arch>(simd::bf16_weights_kernel<Arch>);
    CHECK(y[0] == 0x1p-129f);
    CHECK(y[1] == infinity);
    CHECK(std::isnan(y[2]));
  });
}

#if defined(__x86_64__)

namespace {

bool has_bf16_dot() {
  if (!simd::cpu_features().avx512_bf16) std::cout << "skipped: this machine has no AVX512_BF16\n";
  return simd::cpu_features().avx512_bf16;
}

}  // namespace

TEST_CASE("bfloat16 dot products agree with plain loops") {
  if (!has_bf16_dot()) return;
  test::for_each_architecture([]<class Arch>(Arch) {
    const auto& kernel = simd::bf16_dot_kernel;
    test::for_sizes_around_tiles(kernel.most_rows, [&](Index rows, Index inputs, Index outputs) {
      const Operands operands{.rows = rows, .inputs = inputs, .outputs = outputs};
      CHECK(test::worst_bf16_error(operands, operands.multiply<Arch>(kernel)) <= 1.);
    });
    const Operands long_sums{.rows = 29, .inputs = 2 * simd::detail::chunked_from + 5, .outputs = 71};
    CHECK(test::worst_bf16_error(long_sums, long_sums.multiply<Arch>(kernel)) <= 1.);
    test::check_cuts<Arch>(kernel);
  });
}

TEST_CASE("bfloat16 dot products take denormals for zero and keep infinities and NaN") {
  if (!has_bf16_dot()) return;
  Operands operands{.rows = 1, .inputs = 3, .outputs = 3};
  operands.x = {1.f, 1.f, 1.f};
  operands.w = {0x1p-130f,
                std::numeric_limits<float>::infinity(),
                std::numeric_limits<float>::quiet_NaN(),
                0x1p-130f,
                1.f,
                1.f,
                0.f,
                1.f,
                1.f};
  const std::vector<float> y = operands.multiply<simd::DefaultArch>(simd::bf16_dot_kernel);
  CHECK(y[0] == 0.f);
  CHECK(y[1] == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(y[2]));
}

#endif
