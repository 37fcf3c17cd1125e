/// What the tests of products in reduced precision share.
#pragma once

#include "random_values.hpp"
#include "reference.hpp"
#include "same_bits.hpp"
#include "simd/architectures.hpp"

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/simd/gemm.hpp>
#include <moevit/simd/pack_reduced.hpp>

namespace moevit::test {

/// Weights packed for a kernel, with their memory.
struct PackedWeights {
  AlignedBuffer<std::uint32_t> units;
  AlignedBuffer<float> scales;
  AlignedBuffer<std::int32_t> offsets;
  simd::PackedView view;

  PackedWeights(const simd::TileKernel& kernel, const std::vector<float>& w, Index rows, Index cols)
      : units(simd::packed_size(rows, cols, kernel.weights)), scales(round_up(cols, 32)), offsets(round_up(cols, 32)) {
    if (kernel.weights == simd::WeightFormat::bfloat16) {
      view = simd::pack_bf16(w.data(), cols, rows, cols, kernel, units.data());
    } else if (kernel.weights == simd::WeightFormat::int8) {
      view = simd::pack_int8(w.data(), cols, rows, cols, kernel, {units.data(), scales.data(), offsets.data()});
    } else {
      view = simd::pack(w.data(), cols, rows, cols, reinterpret_cast<float*>(units.data()));
      view.kernel = &kernel;
    }
  }
  PackedWeights(const PackedWeights&) = delete;
};

/// x[rows x inputs], w[inputs x outputs].
struct Operands {
  Index rows, inputs, outputs;
  std::vector<float> x = normal_values(rows * inputs, 1);
  std::vector<float> w = normal_values(inputs * outputs, 2, 0.f, 0.1f);

  /// Rows [first, first + count) of x W as `view` has W.
  template <class Arch>
  std::vector<float> multiply_rows(const simd::PackedView& view, Index first, Index count) const {
    AlignedBuffer<std::byte> room(count * simd::tiled_row_bytes(inputs));
    std::fill_n(room.data(), room.size(), std::byte{0xff});  // NaN where nobody writes
    std::vector<float> y(static_cast<std::size_t>(count * outputs), 1234.5f);
    const simd::RowTiles tiles = simd::tile_rows<Arch>(count, x.data() + first * inputs, inputs, view, room.data());
    simd::gemm<Arch>(tiles, view, {}, simd::RowsOut{y.data(), outputs});
    return y;
  }
  /// x W with W as the kernel wants it.
  template <class Arch>
  std::vector<float> multiply(const simd::TileKernel& kernel) const {
    return multiply_rows<Arch>(PackedWeights(kernel, w, inputs, outputs).view, 0, rows);
  }
};

inline std::vector<float> rounded_to_bf16(std::vector<float> values) {
  simd::round_row_to_bf16(values.data(), static_cast<Index>(values.size()));
  return values;
}

/// The largest error of a product relative to its bound: K roundings of sums whose terms have the sizes of x and W.
/// Both are rounded to bfloat16, so products are exact; the order of the sums is the processor's.
inline double worst_bf16_error(Operands operands, const std::vector<float>& y) {
  operands.x = rounded_to_bf16(operands.x), operands.w = rounded_to_bf16(operands.w);
  double worst = 0.;
  for (Index row = 0; row < operands.rows; ++row)
    for (Index col = 0; col < operands.outputs; ++col) {
      double sum = 0., size = 0.;
      for (Index k = 0; k < operands.inputs; ++k) {
        const double term = static_cast<double>(operands.x[static_cast<std::size_t>(row * operands.inputs + k)]) *
                            static_cast<double>(operands.w[static_cast<std::size_t>(k * operands.outputs + col)]);
        sum += term, size += std::abs(term);
      }
      const double found = static_cast<double>(y[static_cast<std::size_t>(row * operands.outputs + col)]);
      worst = std::max(worst, std::abs(found - sum) /
                                  (static_cast<double>(operands.inputs) * reference::unit_roundoff * size + 1e-37));
    }
  return worst;
}

/// Calls check(rows, inputs, outputs) for sizes around tiles of `most_rows` rows, lines and panels.
template <class Check>
void for_sizes_around_tiles(Index most_rows, Check check) {
  for (const Index rows : {Index{0}, Index{1}, most_rows - 1, most_rows, most_rows + 1})
    for (const Index inputs : {1, 2, 3, 63, 64, 65, 200})
      for (const Index outputs : {1, 15, 16, 17, 31, 32, 33, 70}) {
        CAPTURE(rows, inputs, outputs);
        check(rows, inputs, outputs);
      }
}

/// However the rows are cut, the bits are the same.
template <class Arch>
void check_cuts(const simd::TileKernel& kernel) {
  const Operands operands{.rows = 43, .inputs = 101, .outputs = 70};
  const PackedWeights weights(kernel, operands.w, operands.inputs, operands.outputs);
  const std::vector<float> whole = operands.multiply_rows<Arch>(weights.view, 0, operands.rows);
  for (const Index most : {1, 2, 5, 13, 29}) {
    CAPTURE(most);
    std::vector<float> cut;
    for (Index first = 0; first < operands.rows; first += most) {
      const std::vector<float> part =
          operands.multiply_rows<Arch>(weights.view, first, std::min(most, operands.rows - first));
      cut.insert(cut.end(), part.begin(), part.end());
    }
    CHECK(same_bits(cut, whole));
  }
}

}  // namespace moevit::test
