// Products with a second term of two factors, which joins the sums in registers.
#include "simd/reduced.hpp"

#include <moevit/simd/bf16_weights.hpp>

using namespace moevit;
using simd::lanes;

namespace {

/// y = epilogue(x W + left right), and what plain loops make of x W from the same product without factors.
template <class Arch>
struct LowRankProduct {
  Index rank;
  test::Operands operands;
  std::vector<float> left, right, bias, residual;
  test::PackedWeights w, packed_right;
  AlignedBuffer<std::byte> room;
  simd::RowTiles x;

  LowRankProduct(const simd::TileKernel& kernel, Index rows, Index inputs, Index outputs, Index of_rank)
      : rank(of_rank),
        operands{.rows = rows, .inputs = inputs, .outputs = outputs},
        left(test::normal_values(rows * rank, 8)),
        right(test::normal_values(rank * outputs, 9)),
        bias(test::normal_values(round_up(outputs, 32), 10)),
        residual(test::normal_values(rows * stride(), 11)),
        w(kernel, operands.w, inputs, outputs),
        packed_right(simd::float_kernel<Arch>, right, rank, outputs),
        room(rows * simd::tiled_row_bytes(inputs)),
        x(simd::tile_rows<Arch>(rows, operands.x.data(), inputs, w.view, room.data())) {}

  /// Of the residual, which is read in whole registers.
  Index stride() const { return round_up(operands.outputs, 32); }
  simd::LowRank factors() const { return {rank, left.data(), packed_right.view.floats()}; }

  /// y by RowsOut, or by way of TilesOut.
  std::vector<float> multiply(const simd::Epilogue& epilogue, bool to_tiles) const {
    const Index rows = operands.rows, outputs = operands.outputs;
    std::vector<float> y(static_cast<std::size_t>(rows * outputs));
    if (!to_tiles) {
      simd::gemm<Arch>(x, w.view, epilogue, simd::RowsOut{y.data(), outputs});
      return y;
    }
    AlignedBuffer<std::byte> target(rows * simd::tiled_row_bytes(outputs));
    simd::RowTiles tiles = x;
    tiles.data = target.data(), tiles.width = outputs, tiles.row_bytes = simd::tiled_row_bytes(outputs);
    simd::gemm<Arch>(x, w.view, epilogue, simd::TilesOut{tiles});
    const simd::TileList list = tiles.tiles();
    for (Index number = 0; number < list.count(); ++number)
      for (Index row = 0; row < list[number].rows; ++row)
        for (Index col = 0; col < outputs; ++col)
          y[static_cast<std::size_t>((list[number].first_row + row) * outputs + col)] =
              reinterpret_cast<const float*>(list[number].row_data(row) + col / 16 * list[number].line_step)[col % 16];
    return y;
  }

  void check() const {
    static constexpr Activation relu = Activation::relu;
    CAPTURE(operands.rows, operands.inputs, operands.outputs, rank, w.view.kernel->name);
    const Index outputs = operands.outputs;
    const std::vector<float> plain = multiply({.bias = bias.data()}, false);
    for (const bool activates : {false, true})
      for (const bool to_tiles : {false, true}) {
        const std::vector<float> found = multiply({.bias = bias.data(),
                                                   .activation = activates ? &relu : nullptr,
                                                   .residual = residual.data(),
                                                   .residual_stride = stride(),
                                                   .factors = factors()},
                                                  to_tiles);
        double worst = 0.;
        for (Index row = 0; row < operands.rows; ++row)
          for (Index col = 0; col < outputs; ++col) {
            const auto at = static_cast<std::size_t>(row * outputs + col);
            double sum = double{plain[at]};
            for (Index k = 0; k < rank; ++k)
              sum += double{left[static_cast<std::size_t>(row * rank + k)]} *
                     double{right[static_cast<std::size_t>(k * outputs + col)]};
            const double expected = (activates ? std::max(sum, 0.) : sum) +
                                    double{residual[static_cast<std::size_t>(row * stride() + col)]};
            worst = std::max(worst, std::abs(double{found[at]} - expected) / (std::abs(expected) + 1.));
          }
        CHECK(worst < 1e-5);
      }
  }
};

}  // namespace

TEST_CASE("a product takes a second term of two factors") {
  test::for_each_architecture([]<class Arch>(Arch) {
    constexpr Index tile = simd::detail::tile_rows<Arch>;
    for (const simd::TileKernel* kernel : {&simd::float_kernel<Arch>, &simd::bf16_weights_kernel<Arch>}) {
      for (const Index outputs : test::counts_around(lanes<Arch>))
        for (const Index rank : {1, 4, 33}) LowRankProduct<Arch>(*kernel, 2 * tile + 2, 9, outputs, rank).check();
      LowRankProduct<Arch>(*kernel, tile + 1, 5200, 40, 4).check();  // a K that may be cut into chunks
    }
  });
}
