/// Sums over the rows of a matrix, channel by channel, and products of rows with vectors: what depth-wise convolutions
/// and the norms of channels are made of.
#pragma once

#include <moevit/simd/simd.hpp>

namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET {

namespace detail {

/// sums[first...) += term(row, column, valid, sum) over rising rows, for `vectors` registers of columns.
template <class Arch, int vectors, class Term>
void add_channel_registers(Index rows, Index first, Index valid, Term term, float* sums) {
  using B = Batch<Arch>;
  B sum[vectors];
  for (int v = 0; v < vectors; ++v) sum[v] = B(0.f);
  for (Index row = 0; row < rows; ++row)
    for (int v = 0; v < vectors; ++v) sum[v] = term(row, first + v * lanes<Arch>, valid, sum[v]);
  for (int v = 0; v < vectors; ++v) {
    float* target = sums + first + v * lanes<Arch>;
    store_valid<Arch>(load_valid<Arch>(target, valid) + sum[v], target, valid);
  }
}

/// The same for all of `count` columns; term(row, column, valid, sum) adds to a register of sums.
template <class Arch, class Term>
void add_channel_terms(Index rows, Index count, Term term, float* sums) {
  constexpr int vectors = 4;
  Index col = 0;
  for (; col + vectors * lanes<Arch> <= count; col += vectors * lanes<Arch>)
    add_channel_registers<Arch, vectors>(rows, col, lanes<Arch>, term, sums);
  for (; col < count; col += lanes<Arch>)
    add_channel_registers<Arch, 1>(rows, col, std::min(lanes<Arch>, count - col), term, sums);
}

}  // namespace detail

/// sums += x(row, .) over `rows` rows of `count` floats, `stride` apart, in rising order from 0.
template <class Arch = DefaultArch>
void add_channel_sums(const float* x, Index stride, Index rows, Index count, float* sums) {
  detail::add_channel_terms<Arch>(
      rows, count,
      [=](Index row, Index col, Index valid, const Batch<Arch>& sum) {
        return sum + load_valid<Arch>(x + row * stride + col, valid);
      },
      sums);
}

/// sums += (x(row, .) - mean)^2.
template <class Arch = DefaultArch>
void add_channel_squares(const float* x, Index stride, Index rows, Index count, const float* mean, float* sums) {
  detail::add_channel_terms<Arch>(
      rows, count,
      [=](Index row, Index col, Index valid, const Batch<Arch>& sum) {
        const Batch<Arch> difference =
            load_valid<Arch>(x + row * stride + col, valid) - load_valid<Arch>(mean + col, valid);
        return fma<Arch>(difference, difference, sum);
      },
      sums);
}

/// sums += x(row, .) * d(row, .).
template <class Arch = DefaultArch>
void add_channel_products(const float* x, Index x_stride, const float* d, Index d_stride, Index rows, Index count,
                          float* sums) {
  detail::add_channel_terms<Arch>(
      rows, count,
      [=](Index row, Index col, Index valid, const Batch<Arch>& sum) {
        return fma<Arch>(load_valid<Arch>(x + row * x_stride + col, valid),
                         load_valid<Arch>(d + row * d_stride + col, valid), sum);
      },
      sums);
}

/// sums += (x(row, .) - mean) * d(row, .).
template <class Arch = DefaultArch>
void add_centred_products(const float* x, Index x_stride, const float* mean, const float* d, Index d_stride, Index rows,
                          Index count, float* sums) {
  detail::add_channel_terms<Arch>(
      rows, count,
      [=](Index row, Index col, Index valid, const Batch<Arch>& sum) {
        const Batch<Arch> difference =
            load_valid<Arch>(x + row * x_stride + col, valid) - load_valid<Arch>(mean + col, valid);
        return fma<Arch>(difference, load_valid<Arch>(d + row * d_stride + col, valid), sum);
      },
      sums);
}

/// Rows of x and the rows of weights that they are multiplied with, on a grid of rows x columns taps; steps are floats.
struct TapGrid {
  const float* x = nullptr;
  Index x_row = 0, x_column = 0;
  const float* weights = nullptr;
  Index weight_row = 0, weight_column = 0;
  Index rows = 0, columns = 0;
  /// As many sums, each from rows of x that lie x_place behind those of the one before it.
  Index places = 1, x_place = 0;
};

namespace detail {

/// Inlined, so that whether registers are whole is asked once and not for every load. A weight is read once for all
/// places.
template <class Arch, int vectors, int places>
MOEVIT_ALWAYS_INLINE void sum_tap_registers(const TapGrid& taps, const float* start, Index first, Index valid, float* y,
                                            Index y_stride) {
  using B = Batch<Arch>;
  B sum[places][vectors];
  for (int v = 0; v < vectors; ++v) {
    const B begin = start ? load_valid<Arch>(start + first + v * lanes<Arch>, valid) : B(0.f);
    for (int place = 0; place < places; ++place) sum[place][v] = begin;
  }
  for (Index row = 0; row < taps.rows; ++row)
    for (Index column = 0; column < taps.columns; ++column) {
      const float* x = taps.x + row * taps.x_row + column * taps.x_column + first;
      const float* w = taps.weights + row * taps.weight_row + column * taps.weight_column + first;
      for (int v = 0; v < vectors; ++v) {
        const B weight = load_valid<Arch>(w + v * lanes<Arch>, valid);
        for (int place = 0; place < places; ++place)
          sum[place][v] =
              fma<Arch>(load_valid<Arch>(x + place * taps.x_place + v * lanes<Arch>, valid), weight, sum[place][v]);
      }
    }
  for (int place = 0; place < places; ++place)
    for (int v = 0; v < vectors; ++v)
      store_valid<Arch>(sum[place][v], y + place * y_stride + first + v * lanes<Arch>, valid);
}

/// All columns of `places` places.
template <class Arch, int vectors, int places>
void sum_tap_places(const TapGrid& taps, const float* start, Index count, float* y, Index y_stride) {
  Index col = 0;
  for (; col + vectors * lanes<Arch> <= count; col += vectors * lanes<Arch>)
    sum_tap_registers<Arch, vectors, places>(taps, start, col, lanes<Arch>, y, y_stride);
  for (; col < count; col += lanes<Arch>)
    sum_tap_registers<Arch, 1, places>(taps, start, col, std::min(lanes<Arch>, count - col), y, y_stride);
}

}  // namespace detail

/// y = start + sum over taps of x(tap) * weights(tap), element by element over `count` floats, tap after tap; a null
/// start counts as zeros. The sums of taps.places places go to rows of y, y_stride floats apart.
template <class Arch = DefaultArch>
void sum_taps(const TapGrid& taps, const float* start, Index count, float* y, Index y_stride = 0) {
  const auto from = [&](Index place) {
    TapGrid rest = taps;
    rest.x += place * taps.x_place;
    return rest;
  };
  Index place = 0;
  for (; place + 4 <= taps.places; place += 4)
    detail::sum_tap_places<Arch, 2, 4>(from(place), start, count, y + place * y_stride, y_stride);
  for (; place < taps.places; ++place)
    detail::sum_tap_places<Arch, 4, 1>(from(place), start, count, y + place * y_stride, y_stride);
}

/// y = (x - mean) * factor + shift, element by element over `count` floats. y may be x.
template <class Arch = DefaultArch>
void normalise_channels(const float* x, const float* mean, const float* factor, const float* shift, Index count,
                        float* y) {
  for (Index i = 0; i < count; i += lanes<Arch>) {
    const Index valid = std::min(lanes<Arch>, count - i);
    const Batch<Arch> difference = load_valid<Arch>(x + i, valid) - load_valid<Arch>(mean + i, valid);
    store_valid<Arch>(fma<Arch>(difference, load_valid<Arch>(factor + i, valid), load_valid<Arch>(shift + i, valid)),
                      y + i, valid);
  }
}

/// y = x * factor, element by element over `count` floats. y may be x.
template <class Arch = DefaultArch>
void scale_channels(const float* x, const float* factor, Index count, float* y) {
  for (Index i = 0; i < count; i += lanes<Arch>) {
    const Index valid = std::min(lanes<Arch>, count - i);
    store_valid<Arch>(load_valid<Arch>(x + i, valid) * load_valid<Arch>(factor + i, valid), y + i, valid);
  }
}

/// The gradient of a norm with statistics of its own input: dx = dy * factor + (x - mean) * slope + shift, element by
/// element over `count` floats. dx may be dy.
template <class Arch = DefaultArch>
void normalise_channels_gradient(const float* x, const float* mean, const float* dy, const float* factor,
                                 const float* slope, const float* shift, Index count, float* dx) {
  for (Index i = 0; i < count; i += lanes<Arch>) {
    const Index valid = std::min(lanes<Arch>, count - i);
    const Batch<Arch> difference = load_valid<Arch>(x + i, valid) - load_valid<Arch>(mean + i, valid);
    const Batch<Arch> direct = fma<Arch>(load_valid<Arch>(dy + i, valid), load_valid<Arch>(factor + i, valid),
                                         load_valid<Arch>(shift + i, valid));
    store_valid<Arch>(fma<Arch>(difference, load_valid<Arch>(slope + i, valid), direct), dx + i, valid);
  }
}

}  // namespace moevit::simd::inline MOEVIT_INSTRUCTION_SET
