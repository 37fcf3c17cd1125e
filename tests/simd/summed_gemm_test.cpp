// Products with the sum of two matrices have the bits of a product with their sum, however rows and chunks are cut.
#include "random_values.hpp"
#include "same_bits.hpp"
#include "simd/reduced.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/summed_gemm.hpp>

using namespace moevit;
using simd::lanes;

namespace {

/// x (A + B) in both ways, to rows and to tiles; rooms are exactly as large as they have to be.
template <class Arch>
struct SummedProduct {
  Index rows, inner, outputs;
  std::vector<float> x = test::normal_values(rows * inner, 1);
  AlignedBuffer<float> a = packed(2), b = packed(3), sum{a.size()}, bias{simd::packed_size(1, outputs)};
  AlignedBuffer<std::byte> room_of_x{rows * simd::tiled_row_bytes(inner)};
  AlignedBuffer<float> room{simd::sum_room_size(rows, inner)};

  SummedProduct(Index row_count, Index inputs, Index columns) : rows(row_count), inner(inputs), outputs(columns) {
    for (Index i = 0; i < a.size(); ++i) sum[i] = a[i] + b[i];
    std::ranges::copy(test::normal_values(outputs, 4), bias.data());
  }
  AlignedBuffer<float> packed(unsigned seed) const {
    AlignedBuffer<float> panels(simd::packed_size(inner, outputs));
    simd::pack<Arch>(test::normal_values(inner * outputs, seed).data(), outputs, inner, outputs, panels.data());
    return panels;
  }
  simd::PackedView view(const AlignedBuffer<float>& panels) const {
    return {.data = panels.data(), .rows = inner, .cols = outputs, .panel = simd::panel_width(outputs)};
  }

  void check(const simd::Epilogue& epilogue) {
    const simd::RowTiles tiles = simd::tile_rows<Arch>(rows, x.data(), inner, view(a), room_of_x.data());
    std::vector<float> expected(static_cast<std::size_t>(rows * outputs)), found(expected.size());
    simd::gemm<Arch>(tiles, view(sum), epilogue, simd::RowsOut{expected.data(), outputs});
    simd::gemm_of_sum<Arch>(tiles, view(a), view(b), epilogue, simd::RowsOut{found.data(), outputs}, room.data());
    CHECK(test::same_bits(found, expected));

    const Index bytes = rows * simd::tiled_row_bytes(outputs);
    AlignedBuffer<std::byte> first(bytes), second(bytes);
    simd::RowTiles target = tiles;
    target.width = outputs, target.row_bytes = simd::tiled_row_bytes(outputs);
    target.data = first.data();
    simd::gemm<Arch>(tiles, view(sum), epilogue, simd::TilesOut{target});
    target.data = second.data();
    simd::gemm_of_sum<Arch>(tiles, view(a), view(b), epilogue, simd::TilesOut{target}, room.data());
    CHECK(test::same_bits(first.span(), second.span()));
  }
};

}  // namespace

TEST_CASE("a product with a sum of matrices has the bits of a product with their sum") {
  static constexpr Activation gelu = Activation::gelu_erf;
  test::for_each_architecture([]<class Arch>(Arch) {
    constexpr Index tile = simd::detail::tile_rows<Arch>, chunk = simd::detail::summed_chunk;
    for (const Index rows : {Index{0}, Index{1}, tile, tile + 1, 5 * tile + 2})
      for (const Index inner : {Index{1}, Index{19}, chunk, chunk + 1, 2 * chunk + 5})
        for (const Index outputs : test::counts_around(lanes<Arch>)) {
          CAPTURE(rows, inner, outputs);
          SummedProduct<Arch> product(rows, inner, outputs);
          product.check({});
          product.check({.bias = product.bias.data(), .activation = &gelu});
        }
  });
}
