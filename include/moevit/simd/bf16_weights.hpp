/// Floats times bfloat16 weights: half the bytes to read, all arithmetic in floats, on every instruction set.
#pragma once

#include <moevit/simd/tile_kernel.hpp>

#include <bit>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// A unit holds the weights of k (lower half) and k + 1 of a column. A bfloat16 is the upper half of a float, so a
/// shift or a mask widens it; the products and sums are those of FloatStep, in the same order. One after the other, so
/// that no more registers hold weights than with floats. Where K is odd, the last unit meets a float of x's padding.
template <class Arch>
struct Bf16WeightStep : FloatStep<Arch> {
  using Sum = Batch<Arch>;
  using Weights = Batch<Arch>;
  static constexpr Index x_units = 2;
  static constexpr int parts = 2;

  static Weights load(const std::byte* weights, int part) {
    using Bits = xsimd::batch<std::uint32_t, Arch>;
    const Bits pair = Bits::load_aligned(reinterpret_cast<const std::uint32_t*>(weights));
    return std::bit_cast<Weights>(part == 0 ? pair << 16 : pair & Bits(0xffff0000u));
  }
  template <int vectors>
  static void add(const std::byte* x, int part, const Weights (&w)[vectors], Sum (&sum)[vectors]) {
    FloatStep<Arch>::add(x + 4 * part, 0, w, sum);
  }
};

}  // namespace detail

/// Floats times bfloat16 weights. The same bits as float_kernel with weights that are rounded to bfloat16.
template <class Arch = DefaultArch>
inline constexpr TileKernel bf16_weights_kernel{
    .name = "bf16 weights/float32",
    .weights = WeightFormat::bfloat16,
    .rows = RowFormat::float32,
    .most_rows = detail::tile_rows<Arch>,
    .columns = detail::tile_vectors* lanes<Arch>,
    .lanes = lanes<Arch>,
    .multiply = &detail::multiply_any_tile<Arch, detail::Bf16WeightStep<Arch>>,
    .goes_on = true};

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
