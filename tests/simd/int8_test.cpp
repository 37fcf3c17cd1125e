#include "simd/reduced.hpp"

#include <moevit/simd/cpu_features.hpp>
#include <moevit/simd/dot_avx512.hpp>

using namespace moevit;
using test::Operands;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// Calls visit(kernel) for all kernels of int8 that this machine and the compiler's flags allow.
template <class Arch, class Visit>
void for_each_int8_kernel(Visit visit) {
  const auto with = [&](const simd::TileKernel& kernel) {
    CAPTURE(kernel.name);
    visit(kernel);
  };
  with(simd::int8_plain_kernel<Arch>);
  with(simd::int8_widening_kernel<Arch>);
#if defined(__x86_64__)
  if (simd::cpu_features().avx512_vnni) with(simd::int8_vnni_kernel);
#elif defined(MOEVIT_HAS_DOTPROD_KERNEL)
  if (simd::cpu_features().neon_dotprod) with(simd::int8_dotprod_kernel<Arch>);
#endif
}

/// Floats as int8 numbers with one scale, in plain loops.
struct Quantised {
  std::vector<std::int32_t> elements;
  float scale = 0.f;

  template <class At>
  Quantised(Index count, At at) : elements(static_cast<std::size_t>(count)) {
    float largest = 0.f;
    for (Index i = 0; i < count; ++i) largest = std::max(largest, std::abs(at(i)));
    scale = largest / 127.f;
    if (scale != 0.f)
      for (Index i = 0; i < count; ++i) elements[static_cast<std::size_t>(i)] = nearest(at(i), largest);
  }
  static std::int32_t nearest(float x, float largest) {
    return static_cast<std::int32_t>(std::nearbyint(x * (127.f / largest)));
  }
};

/// x W with both quantised, each step rounded as documented.
std::vector<float> expected_product(const Operands& operands, const test::PackedWeights& weights) {
  std::vector<float> y;
  for (Index row = 0; row < operands.rows; ++row) {
    const Quantised x(operands.inputs,
                      [&](Index k) { return operands.x[static_cast<std::size_t>(row * operands.inputs + k)]; });
    for (Index col = 0; col < operands.outputs; ++col) {
      std::int32_t sum = 0;
      const Index panel = weights.view.panel, units = simd::column_units(simd::WeightFormat::int8, operands.inputs);
      for (Index k = 0; k < operands.inputs; ++k) {
        const std::uint32_t unit = weights.units[(col / panel * units + k / 4) * panel + col % panel];
        sum += x.elements[static_cast<std::size_t>(k)] * static_cast<std::int8_t>(unit >> (8 * (k % 4)) & 0xffu);
      }
      volatile float scaled = static_cast<float>(sum) * weights.scales[col];  // each product is rounded
      y.push_back(scaled * x.scale);
    }
  }
  return y;
}

}  // namespace

TEST_CASE("pack_int8 scales each column to 127, rounds halves to even and pads with zeros") {
  const std::vector<float> w = {127.f, 1.f, 0.f, -0.5f, 2.f, 0.f, 1.5f, -4.f, 0.f, 2.5f, 3.f, 0.f, -126.5f, 0.f, 0.f};
  const test::PackedWeights packed(simd::int8_plain_kernel<>, w, 5, 3);
  const auto element = [&](Index row, Index col) {
    return static_cast<std::int8_t>(packed.units[row / 4 * 16 + col] >> (8 * (row % 4)) & 0xffu);
  };
  CHECK(packed.scales[0] == 1.f);
  CHECK(packed.scales[1] == 4.f / 127.f);
  CHECK(packed.scales[2] == 0.f);
  const std::vector<int> first = {127, 0, 2, 2, -126};  // -0.5, 1.5, 2.5 and -126.5 are ties
  for (Index row = 0; row < 5; ++row) CHECK(element(row, 0) == first[static_cast<std::size_t>(row)]);
  CHECK(element(2, 1) == -127);
  CHECK(element(4, 1) == 0);
  CHECK(packed.offsets[0] == -128 * (127 + 2 + 2 - 126));
  for (Index i = 0; i < packed.units.size(); ++i)
    if (i % 16 >= 2 || i >= 32) CHECK(packed.units[i] == 0);
}

TEST_CASE("pack_int8 takes rows as panels, and gives bad columns a NaN for a scale") {
  for (const Index cols : {3, 17, 70}) {
    std::vector<float> w = test::normal_values(70 * cols, 1);
    w[1] = infinity, w[2] = not_a_number;
    const test::PackedWeights from_rows(simd::int8_plain_kernel<>, w, 70, cols);
    AlignedBuffer<float> floats(simd::packed_size(70, cols)), scales(from_rows.scales.size());
    AlignedBuffer<std::uint32_t> units(from_rows.units.size());
    AlignedBuffer<std::int32_t> offsets(from_rows.offsets.size());
    simd::pack_int8(simd::pack(w.data(), cols, 70, cols, floats.data()), simd::int8_plain_kernel<>,
                    {units.data(), scales.data(), offsets.data()});
    CHECK(std::ranges::equal(units.span(), from_rows.units.span()));
    CHECK(std::ranges::equal(offsets.span(), from_rows.offsets.span()));
    CHECK(scales[0] == from_rows.scales[0]);
    CHECK(std::isnan(scales[1]));
    CHECK(std::isnan(scales[2]));
    CHECK(offsets[1] == 0);
  }
}

TEST_CASE("int8 products are those of plain loops, bit for bit, with every kernel") {
  test::for_each_architecture([]<class Arch>(Arch) {
    test::for_sizes_around_tiles(
        simd::int8_widening_kernel<Arch>.most_rows, [](Index rows, Index inputs, Index outputs) {
          const Operands operands{.rows = rows, .inputs = inputs, .outputs = outputs};
          const test::PackedWeights weights(simd::int8_plain_kernel<Arch>, operands.w, inputs, outputs);
          const std::vector<float> expected = expected_product(operands, weights);
          for_each_int8_kernel<Arch>([&](const simd::TileKernel& kernel) {
            CHECK(test::same_bits(operands.multiply<Arch>(kernel), expected));
          });
        });
    for_each_int8_kernel<Arch>([](const simd::TileKernel& kernel) { test::check_cuts<Arch>(kernel); });
  });
}

TEST_CASE("int8 products do not saturate with the largest numbers") {
  test::for_each_architecture([]<class Arch>(Arch) {
    for (const float sign : {1.f, -1.f}) {
      Operands operands{.rows = 2, .inputs = 3000, .outputs = 17};
      std::ranges::fill(operands.x, 127.f);
      std::ranges::fill(operands.w, sign * 127.f);
      for_each_int8_kernel<Arch>([&](const simd::TileKernel& kernel) {
        const std::vector<float> y = operands.multiply<Arch>(kernel);
        CHECK(std::ranges::all_of(y, [&](float value) { return value == sign * 127.f * 127.f * 3000.f; }));
      });
    }
  });
}

TEST_CASE("int8 products with NaN, infinities, zeros and denormals") {
  test::for_each_architecture([]<class Arch>(Arch) {
    constexpr Index inputs = 70;
    Operands operands{.rows = 6, .inputs = inputs, .outputs = 3};
    const auto row = [&](Index index) { return operands.x.begin() + index * inputs; };
    row(1)[69] = not_a_number;
    row(2)[3] = -infinity;
    std::fill_n(row(3), inputs, 0.f);
    std::fill_n(row(4), inputs, 0x1p-140f);
    operands.w[2] = infinity;
    for (Index k = 0; k < inputs; ++k) operands.w[static_cast<std::size_t>(k * 3 + 1)] = 0x1p-140f;
    for_each_int8_kernel<Arch>([&](const simd::TileKernel& kernel) {
      const std::vector<float> y = operands.multiply<Arch>(kernel);
      for (std::size_t i : {3u, 4u, 5u, 6u, 7u, 8u}) CHECK(std::isnan(y[i]));  // rows with a NaN or an infinity
      for (std::size_t i : {2u, 17u}) CHECK(std::isnan(y[i]));                 // the column with an infinity
      for (std::size_t i : {9u, 10u, 12u, 13u}) CHECK(y[i] == 0.f);            // rows of zeros, and nearly
      for (std::size_t i : {0u, 15u}) CHECK(std::isfinite(y[i]));
      for (std::size_t i : {1u, 16u}) CHECK(std::abs(y[i]) < 1e-36f);
    });
  });
}

TEST_CASE("the bias is added to int8 products after they are rounded") {
  test::for_each_architecture([]<class Arch>(Arch) {
    const Operands operands{.rows = 15, .inputs = 70, .outputs = 33};
    const test::PackedWeights weights(simd::int8_widening_kernel<Arch>, operands.w, 70, 33);
    AlignedBuffer<float> bias(64);
    std::ranges::copy(test::normal_values(33, 3), bias.data());
    AlignedBuffer<std::byte> room(15 * simd::tiled_row_bytes(70));
    std::vector<float> y(15 * 33), expected = operands.multiply<Arch>(simd::int8_widening_kernel<Arch>);
    simd::gemm<Arch>(simd::tile_rows<Arch>(15, operands.x.data(), 70, weights.view, room.data()), weights.view,
                     {.bias = bias.data()}, simd::RowsOut{y.data(), 33});
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += bias[static_cast<Index>(i % 33)];
    CHECK(test::same_bits(y, expected));
  });
}
