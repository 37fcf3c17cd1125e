/// Winograd's minimal filtering F(2 x 2, 3 x 3) (Lavin and Gray 2016, section 4.1): a 3 x 3 convolution as 16 products,
/// for 2 x 2 places of the result 16 multiplications of channels instead of 36. A cell is such a group of places; it
/// reads 4 x 4 places of the map. With g the weights and d the places of a cell, the result is
/// A^T ((G g G^T) . (B^T d B)) A, with . taken place by place and summed over the channels.
#pragma once

#include <moevit/simd/bf16_weights.hpp>
#include <moevit/simd/gemm.hpp>

#include <array>
#include <cassert>
#include <cstdint>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

/// Places that a cell reads, and products of the convolution: 4 x 4.
inline constexpr Index winograd_taps = 16;
using WinogradPlaces = std::array<const float*, static_cast<std::size_t>(winograd_taps)>;

/// What the channels of a convolution must be a multiple of: whole lines of bfloat16 numbers and whole registers.
inline constexpr Index winograd_channels = 32;

namespace detail {

/// G g G^T: g(3 * row + column) gives a weight, u(4 * row + column, value) takes one.
template <class B, class Weights, class Out>
MOEVIT_ALWAYS_INLINE void transform_weights(Weights g, Out u) {
  const B half(0.5f);
  B rows[4][3];
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    const B a = g(j), b = g(3 + j), c = g(6 + j), ends = half * a + half * c, middle = half * b;
    rows[0][j] = a, rows[1][j] = ends + middle, rows[2][j] = ends - middle, rows[3][j] = c;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const B a = rows[i][0], c = rows[i][2], ends = half * a + half * c, middle = half * rows[i][1];
    u(4 * i, a), u(4 * i + 1, ends + middle), u(4 * i + 2, ends - middle), u(4 * i + 3, c);
  }
}

/// B^T d B, from d(place) to v(tap, value).
template <class B, class Places, class Out>
MOEVIT_ALWAYS_INLINE void transform_places(Places d, Out v) {
  B rows[4][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const B a = d(j), b = d(4 + j), c = d(8 + j), e = d(12 + j);
    rows[0][j] = a - c, rows[1][j] = b + c, rows[2][j] = c - b, rows[3][j] = b - e;
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const B a = rows[i][0], b = rows[i][1], c = rows[i][2], e = rows[i][3];
    v(4 * i, a - c), v(4 * i + 1, b + c), v(4 * i + 2, c - b), v(4 * i + 3, b - e);
  }
}

/// A^T m A, from m(tap) to y(2 * row + column, value).
template <class B, class Sums, class Out>
MOEVIT_ALWAYS_INLINE void transform_sums(Sums m, Out y) {
  B rows[2][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const B b = m(4 + j), c = m(8 + j);
    rows[0][j] = m(j) + b + c, rows[1][j] = b - c - m(12 + j);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const B b = rows[i][1], c = rows[i][2];
    y(2 * i, rows[i][0] + b + c), y(2 * i + 1, b - c - rows[i][3]);
  }
}

/// The weights of `lanes` columns in units of two bfloat16 numbers: g(tap) and u(tap) point to units.
template <class Arch, class Source, class Target>
MOEVIT_ALWAYS_INLINE void transform_bf16_weights(Source g, Target u) {
  using B = Batch<Arch>;
  alignas(64) float even[winograd_taps][lanes<Arch>];
  transform_weights<B>([&](int tap) { return Bf16WeightStep<Arch>::load(g(tap), 0); },
                       [&](int tap, const B& value) { value.store_aligned(even[tap]); });
  transform_weights<B>([&](int tap) { return Bf16WeightStep<Arch>::load(g(tap), 1); },
                       [&](int tap, const B& odd) {
                         bf16_units<Arch>(load_bits<Arch>(even[tap]), bits_of<Arch>(odd))
                             .store_aligned(reinterpret_cast<std::int32_t*>(u(tap)));
                       });
}

}  // namespace detail

/// The 16 matrices of a convolution, inputs x outputs each: one after the other in the format that they are multiplied
/// in, with the widths of `first`.
struct WinogradWeights {
  PackedView first;
  Index step = 0;  ///< bytes from a matrix to the next

  PackedView operator[](Index tap) const {
    PackedView view = first;
    view.data = static_cast<const std::byte*>(first.data) + tap * step;
    return view;
  }
};

/// Writes panel `panel` of the 16 matrices from the kernel w, (9 * inputs) x outputs in floats or bfloat16 numbers;
/// `target` is in floats, or in bfloat16 like w.
template <class Arch = DefaultArch>
void put_winograd_weights(const PackedView& w, Index panel, const WinogradWeights& target) {
  using B = Batch<Arch>;
  const Index inputs = target.first.rows, width = w.panel, from_units = rows_per_unit(w.format),
              to_units = rows_per_unit(target.first.format);
  const std::byte* const source = w.panel_data(panel);
  // PackedView is a view of constant elements; these are the caller's to write.
  std::byte* const out = const_cast<std::byte*>(target.first.panel_data(panel));
  for (Index row = 0; row < inputs; row += from_units)
    for (Index col = 0; col < width; col += lanes<Arch>) {
      const auto from = [&](int tap) { return source + ((tap * inputs + row) / from_units * width + col) * 4; };
      const auto to = [&](Index tap, Index part) {
        return out + tap * target.step + ((row + part) / to_units * width + col) * 4;
      };
      const auto store = [&](Index part) {
        return [&, part](int tap, const B& value) { value.store_aligned(reinterpret_cast<float*>(to(tap, part))); };
      };
      if (w.format == WeightFormat::float32)
        detail::transform_weights<B>(
            [&](int tap) { return B::load_aligned(reinterpret_cast<const float*>(from(tap))); }, store(0));
      else if (target.first.format == WeightFormat::bfloat16)
        detail::transform_bf16_weights<Arch>(from, [&](int tap) { return to(tap, 0); });
      else
        for (const int half : {0, 1})
          detail::transform_weights<B>([&](int tap) { return detail::Bf16WeightStep<Arch>::load(from(tap), half); },
                                       store(half));
    }
}

/// Fills the left operands of the 16 products, `step` bytes apart, of which `first` is the first, with the cells that
/// are their rows: places_of(row) points to the channels of its 4 x 4 places, valid until the next call.
template <class Arch = DefaultArch, class PlacesOf>
void fill_winograd_tiles(const RowTiles& first, Index step, PlacesOf places_of) {
  using B = Batch<Arch>;
  const TileList list = first.tiles();
  const Index line_elements = line_bytes / row_element_bytes(first.format);
  RowTiles part = first;  // some channels of a row at a time
  part.width = winograd_channels;
  alignas(64) float room[winograd_taps][winograd_channels];
  for (Index number = 0; number < list.count(); ++number) {
    const RowTile tile = list[number];
    for (Index row = 0; row < tile.rows; ++row) {
      const WinogradPlaces& places = *places_of(tile.first_row + row);
      for (Index channel = 0; channel < first.width; channel += winograd_channels) {
        for (Index i = 0; i < winograd_channels; i += lanes<Arch>)
          detail::transform_places<B>(
              [&](int place) { return B::load_unaligned(places[static_cast<std::size_t>(place)] + channel + i); },
              [&](int tap, const B& value) { value.store_aligned(room[tap] + i); });
        RowTile own = tile;
        own.data += channel / line_elements * tile.line_step;
        for (Index tap = 0; tap < winograd_taps; ++tap, own.data += step)
          detail::put_floats<Arch>(room[tap], part, own, row);
      }
    }
  }
}

/// Where the results of a cell go: the row of y for its first place, how far the one below is behind it, and how many
/// of its rows and columns the map has.
struct WinogradCell {
  Index row = 0;
  Index row_step = 0;
  Index height = 2, width = 2;
};

/// y = epilogue(A^T m A) for the places of a cell, with m: 16 rows of `outputs` sums, `step` floats apart. `room` has 4
/// * outputs floats. The epilogue has no factors.
template <class Arch = DefaultArch>
void put_winograd_results(const float* sums, Index step, Index outputs, const WinogradCell& cell,
                          const Epilogue& epilogue, const RowsOut& y, float* room) {
  using B = Batch<Arch>;
  assert(epilogue.factors.rank == 0);
  for (Index col = 0; col < outputs; col += lanes<Arch>) {
    const B bias = epilogue.bias ? B::load_unaligned(epilogue.bias + col) : B(0.f);
    detail::transform_sums<B>(
        [&](int tap) { return B::load_aligned(sums + tap * step + col); },
        [&](int place, const B& value) { (value + bias).store_aligned(room + place * outputs + col); });
  }
  for (Index row = 0; row < cell.height; ++row)
    detail::finish_tile<Arch>(room + 2 * row * outputs,
                              {.first_row = cell.row + row * cell.row_step,
                               .rows = cell.width,
                               .first_col = 0,
                               .valid_cols = outputs,
                               .columns = outputs},
                              epilogue, y);
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
