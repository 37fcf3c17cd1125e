#include "simd/emulated_tiles.hpp"
#include "simd/reduced.hpp"

#include <moevit/simd/choose_kernel.hpp>

#include <iostream>

using namespace moevit;
using simd::WeightFormat;
using test::EmulatedTiles;
using test::Operands;

namespace {

constexpr simd::TileKernel emulated_bf16 =
    simd::detail::amx_kernel<EmulatedTiles, WeightFormat::bfloat16>("bf16/emulated amx");
constexpr simd::TileKernel emulated_int8 =
    simd::detail::amx_kernel<EmulatedTiles, WeightFormat::int8>("int8/emulated amx");

/// Calls check(rows, inputs, outputs) for one, two and three tiles of equal and of different heights.
template <class Check>
void for_sizes_around_pairs(Check check) {
  for (const Index rows : {0, 1, 15, 16, 17, 31, 32, 33, 47, 49})
    for (const Index inputs : {1, 2, 31, 32, 33, 63, 64, 65, 200})
      for (const Index outputs : {1, 15, 16, 17, 31, 32, 33, 70}) {
        CAPTURE(rows, inputs, outputs);
        check(Operands{.rows = rows, .inputs = inputs, .outputs = outputs});
      }
}

}  // namespace

TEST_CASE("blocks of AMX tiles for int8 give the bits of plain loops (emulated)") {
  for_sizes_around_pairs([](const Operands& operands) {
    using Arch = simd::DefaultArch;
    CHECK(test::same_bits(operands.multiply<Arch>(emulated_int8),
                          operands.multiply<Arch>(simd::int8_plain_kernel<Arch>)));
  });
  CHECK(EmulatedTiles::is_released());
}

TEST_CASE("blocks of AMX tiles for bfloat16 agree with plain loops (emulated)") {
  for_sizes_around_pairs([](const Operands& operands) {
    CHECK(test::worst_bf16_error(operands, operands.multiply<simd::DefaultArch>(emulated_bf16)) <= 1.);
  });
  CHECK(EmulatedTiles::is_released());
}

TEST_CASE("AMX kernels suit every instruction set and give a row the same bits, however rows are cut (emulated)") {
  test::for_each_architecture([]<class Arch>(Arch) {
    test::check_cuts<Arch>(emulated_bf16);
    test::check_cuts<Arch>(emulated_int8);
  });
}

TEST_CASE("the bias and the rest of the epilogue follow the sums of AMX tiles (emulated)") {
  using Arch = simd::DefaultArch;
  const Operands operands{.rows = 33, .inputs = 40, .outputs = 33};
  AlignedBuffer<float> bias(64);
  std::ranges::copy(test::normal_values(33, 3), bias.data());
  const std::vector<float> residual = test::normal_values(33 * 33, 4);
  for (const simd::TileKernel* kernel : {&emulated_bf16, &emulated_int8}) {
    const test::PackedWeights weights(*kernel, operands.w, 40, 33);
    AlignedBuffer<std::byte> room(33 * simd::tiled_row_bytes(40));
    std::vector<float> y(33 * 33), expected = operands.multiply<Arch>(*kernel);
    simd::gemm<Arch>(simd::tile_rows<Arch>(33, operands.x.data(), 40, weights.view, room.data()), weights.view,
                     {.bias = bias.data(), .residual = residual.data(), .residual_stride = 33},
                     simd::RowsOut{y.data(), 33});
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] = (expected[i] + bias[static_cast<Index>(i % 33)]) + residual[i];
    CHECK(test::same_bits(y, expected));
  }
}

#if defined(__x86_64__)

TEST_CASE("the processor's AMX tiles give the bits of emulated ones") {
  using Arch = simd::DefaultArch;
  const simd::CpuFeatures& features = simd::cpu_features();
  if (!features.amx_bf16 || !features.amx_int8 || !simd::may_use_amx()) {
    std::cout << "skipped: this machine has no AMX, or does not allow it\n";
    return;
  }
  for_sizes_around_pairs([](const Operands& operands) {
    CHECK(test::same_bits(operands.multiply<Arch>(simd::int8_amx_kernel), operands.multiply<Arch>(emulated_int8)));
    CHECK(test::same_bits(operands.multiply<Arch>(simd::bf16_amx_kernel), operands.multiply<Arch>(emulated_bf16)));
  });
}

#endif
