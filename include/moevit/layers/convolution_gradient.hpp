/// Gradients of a convolution: of its weights from unfolded windows, of its input as convolutions of dy.
#pragma once

#include <moevit/core/convolution_window.hpp>
#include <moevit/layers/linear.hpp>

namespace moevit {

/// Writes the window of a place of the result, taps x channels of x, to `out`; taps beside the map are zeros.
template <ConvolutionWindow window>
void unfold_window(ConstMatrixView x, MapSize size, const MapPlace& place, float* out) {
  const WindowTaps rows = window.taps_at(place.row, size.height), columns = window.taps_at(place.column, size.width);
  const Index channels = x.cols();
  if (rows.count < window.kernel || columns.count < window.kernel) std::fill_n(out, window.taps() * channels, 0.f);
  for (Index i = 0; i < rows.count; ++i) {
    const Index source = (place.image * size.height + rows.place + i) * size.width + columns.place;
    float* target = out + ((rows.first + i) * window.kernel + columns.first) * channels;
    if (x.stride() == channels)
      std::copy_n(x.row_data(source), columns.count * channels, target);
    else
      for (Index j = 0; j < columns.count; ++j) std::copy_n(x.row_data(source + j), channels, target + j * channels);
  }
}

/// Backward passes of a convolution whose kernel is a taps * inputs x outputs matrix in panels.
///
/// The input: place p takes dy W_t^T from all taps t through which it went into the result. With a stride of s these
/// are the same taps for all places with the same remainders of row and column by s, so there are s * s convolutions of
/// dy with every s-th tap, each a product of gathered rows of dy with a transposed part of the kernel. So every element
/// is one sum in an order of its own, and workers share out places.
template <Index inputs, Index outputs, ConvolutionWindow window>
class ConvolutionGradient {
  static constexpr Index values = window.taps() * inputs;
  /// Taps along an axis that places of one remainder have at most, and what is gathered for them.
  static constexpr Index phase_taps = ceil_div(window.kernel, window.stride);
  static constexpr Index phase_values = phase_taps * phase_taps * outputs;
  static constexpr Index input_rows = std::clamp(128 * 1024 / (phase_values + inputs) / 14 * 14, Index{28}, Index{112});
  /// Windows that are unfolded together: about a megabyte of whole blocks of the product, so that the sums over places
  /// have the same order whatever is shared out.
  static constexpr Index unfolded_rows() {
    constexpr Index block = gradient_block_rows(values), megabyte = 256 * 1024;
    return std::max(megabyte / values / block, Index{1}) * block;
  }

 public:
  static constexpr ScratchBytes scratch(Index images, MapSize size) {
    const Index results = images * window.result_size(size).places(), places = images * size.places();
    const Index windows = window.is_pointwise() ? 0 : arena_bytes<float>(std::min(results, unfolded_rows()) * values);
    const Index block = largest_block(places, input_rows);
    return {
        std::max(windows, arena_bytes<float>(simd::packed_size(phase_values, inputs))),
        std::max(weight_gradient_bytes(results), arena_bytes<float>(phase_values) + tiles_bytes(block, phase_values) +
                                                     arena_bytes<float>(block * inputs))};
  }

  /// gradient.kernel += windows^T dy and gradient.bias += sums of dy.
  static void add_weights(ConstMatrixView x, ConstMatrixView dy, MapSize size, Index images,
                          const LinearGradient& gradient, Workspace& workspace) {
    if constexpr (window.is_pointwise()) {
      add_weight_gradient(x, dy, gradient, workspace);
    } else {
      const Arena::Scope scope(workspace.shared());
      const MapSize result = window.result_size(size);
      const Index rows = images * result.places(), most = std::min(rows, unfolded_rows());
      const MatrixView windows(workspace.shared().template take<float>(most * values), most, values);
      for (Index first = 0; first < rows; first += most) {
        const Index count = std::min(most, rows - first);
        workspace.parallel_rows(count, 64, [&](Index own, Index own_count, Arena&) {
          for (Index row = own; row < own + own_count; ++row)
            unfold_window<window>(x, size, place_of(first + row, result), windows.row_data(row));
        });
        add_weight_gradient(windows.rows_of(0, count), dy.rows_of(first, count), gradient, workspace);
      }
    }
  }

  /// dx = what dy makes of the gradient of x. `kernel`: packed floats, values x outputs.
  static void input(const simd::PackedView& kernel, ConstMatrixView dy, MapSize size, Index images, MatrixView dx,
                    Workspace& workspace) {
    const Arena::Scope scope(workspace.shared());
    float* room = workspace.shared().template take<float>(simd::packed_size(phase_values, inputs));
    for (Index phase = 0; phase < window.stride * window.stride; ++phase) {
      const Phase own = phase_of(phase, size, images);
      if (own.rows() == 0) continue;
      if (own.taps() > 0)
        phase_input(own, transposed_taps(own, kernel, room, workspace), dy, dx, workspace);
      else
        clear(own, dx);
    }
  }

 private:
  /// The places with certain remainders of row and column by the stride, and their first taps.
  struct Phase {
    MapSize size, result, places;
    Index images = 0;
    Index first_row = 0, first_column = 0;
    Index first_tap_row = 0, first_tap_column = 0;

    static Index taps_from(Index first) {
      return first < window.kernel ? ceil_div(window.kernel - first, window.stride) : 0;
    }
    Index tap_rows() const { return taps_from(first_tap_row); }
    Index tap_columns() const { return taps_from(first_tap_column); }
    Index taps() const { return tap_rows() * tap_columns(); }
    Index rows() const { return images * places.places(); }
    /// The place with number `row` of this phase in the map, and its row in the matrix of maps.
    MapPlace place(Index row) const {
      const MapPlace own = place_of(row, places);
      return {own.image, first_row + own.row * window.stride, first_column + own.column * window.stride};
    }
    Index row_of(const MapPlace& p) const { return (p.image * size.height + p.row) * size.width + p.column; }
  };

  static Phase phase_of(Index number, MapSize size, Index images) {
    constexpr Index stride = window.stride;
    const Index row = number / stride, column = number % stride;
    const auto places = [](Index extent, Index first) { return extent > first ? ceil_div(extent - first, stride) : 0; };
    return {size,
            window.result_size(size),
            {places(size.height, row), places(size.width, column)},
            images,
            row,
            column,
            (row + window.padding) % stride,
            (column + window.padding) % stride};
  }

  /// The transposes of the phase's taps one below the other, taps * outputs x inputs, in panels.
  static simd::PackedView transposed_taps(const Phase& phase, const simd::PackedView& kernel, float* room,
                                          Workspace& workspace) {
    const Index panel = simd::panel_width(inputs), rows = phase.taps() * outputs;
    workspace.parallel(ceil_div(inputs, panel), [&](Index number, Arena&) {
      const Index first = number * panel, count = std::min(panel, inputs - first);
      float* target = room + first * rows;
      if (count < panel) std::fill_n(target, rows * panel, 0.f);
      for (Index tap = 0; tap < phase.taps(); ++tap) {
        const Index row = phase.first_tap_row + tap / phase.tap_columns() * window.stride;
        const Index column = phase.first_tap_column + tap % phase.tap_columns() * window.stride;
        const Index source = (row * window.kernel + column) * inputs + first;
        for (Index out = 0; out < outputs; out += kernel.panel)
          simd::transpose(kernel.floats() + out * values + source * kernel.panel, kernel.panel,
                          std::min(kernel.panel, outputs - out), count, target + (tap * outputs + out) * panel, panel);
      }
    });
    return {.data = room, .rows = rows, .cols = inputs, .panel = panel};
  }

  static void phase_input(const Phase& phase, const simd::PackedView& taps, ConstMatrixView dy, MatrixView dx,
                          Workspace& workspace) {
    workspace.parallel_rows(phase.rows(), input_rows, [&](Index first, Index count, Arena& arena) {
      float* row = arena.take<float>(phase_values);
      const simd::RowTiles gathered = take_tiles(count, taps, arena);
      simd::fill_tiles(gathered, [&](Index number) {
        gather(phase, phase.place(first + number), dy, row);
        return row;
      });
      if constexpr (window.stride == 1) {
        simd::gemm(gathered, taps, {}, simd::RowsOut{dx.row_data(first), dx.stride()});
      } else {
        float* sums = arena.take<float>(count * inputs);
        simd::gemm(gathered, taps, {}, simd::RowsOut{sums, inputs});
        for (Index number = 0; number < count; ++number)
          std::copy_n(sums + number * inputs, inputs, dx.row_data(phase.row_of(phase.place(first + number))));
      }
    });
  }

  /// The rows of dy that a place went into, by taps of its phase; zeros where there is none.
  static void gather(const Phase& phase, const MapPlace& place, ConstMatrixView dy, float* out) {
    const WindowTaps rows = window.adjoint_taps_at(place.row, phase.result.height);
    const WindowTaps columns = window.adjoint_taps_at(place.column, phase.result.width);
    if (rows.count < phase.tap_rows() || columns.count < phase.tap_columns())
      std::fill_n(out, phase.taps() * outputs, 0.f);
    for (Index i = 0; i < rows.count; ++i)
      for (Index j = 0; j < columns.count; ++j) {
        const Index tap_row = (rows.first - phase.first_tap_row) / window.stride + i;
        const Index tap_column = (columns.first - phase.first_tap_column) / window.stride + j;
        const Index source =
            (place.image * phase.result.height + rows.place - i) * phase.result.width + columns.place - j;
        std::copy_n(dy.row_data(source), outputs, out + (tap_row * phase.tap_columns() + tap_column) * outputs);
      }
  }

  /// Places that no window meets.
  static void clear(const Phase& phase, MatrixView dx) {
    for (Index row = 0; row < phase.rows(); ++row)
      std::fill_n(dx.row_data(phase.row_of(phase.place(row))), inputs, 0.f);
  }
};

}  // namespace moevit
