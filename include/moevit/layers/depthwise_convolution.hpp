/// Depth-wise convolution: every channel of a map with a kernel of its own.
#pragma once

#include <moevit/core/convolution_window.hpp>
#include <moevit/layers/linear.hpp>
#include <moevit/simd/channel_sums.hpp>

namespace moevit {

/// y = x * w channel by channel, without bias; the kernel is kernel x kernel x width. Places outside of a map count as
/// zeros.
template <Index width, ConvolutionWindow window>
class DepthwiseConvolution {
  static_assert(width > 0, "DepthwiseConvolution: the width must be positive");
  static_assert(window.is_valid(),
                "DepthwiseConvolution: kernel and stride must be positive, the padding less than the kernel");

 public:
  static constexpr Index block_rows = 64;
  /// Floats of the kernel.
  static constexpr Index kernel_size = window.taps() * width;

  DepthwiseConvolution() : kernel_(kernel_size) {}

  static constexpr MapSize result_size(MapSize size) { return window.result_size(size); }
  const float* kernel() const { return kernel_.data(); }

  /// Most places that forward_places() computes.
  static constexpr Index places_at_once = 4;

  /// Places of the result from `place` on, from maps whose rows are `x`, with this or another kernel (batch norms are
  /// folded into copies of it) and a bias that may be null: to the first rows of y. Returns how many: places_at_once
  /// where that is no more than y has rows and all of them lie in a row of the result and have the same columns of
  /// taps, otherwise 1.
  static Index forward_places(ConstMatrixView x, MapSize size, const MapPlace& place, const float* kernel,
                              const float* bias, MatrixView y) {
    const WindowTaps rows = window.taps_at(place.row, size.height), columns = window.taps_at(place.column, size.width);
    const Index places = y.rows() >= places_at_once && has_neighbours(place, size) ? places_at_once : 1;
    const Index source = (place.image * size.height + rows.place) * size.width + columns.place;
    simd::sum_taps({.x = rows.count * columns.count > 0 ? x.row_data(source) : nullptr,
                    .x_row = size.width * x.stride(),
                    .x_column = x.stride(),
                    .weights = kernel + (rows.first * window.kernel + columns.first) * width,
                    .weight_row = window.kernel * width,
                    .weight_column = width,
                    .rows = rows.count,
                    .columns = columns.count,
                    .places = places,
                    .x_place = window.stride * x.stride()},
                   bias, width, y.data(), y.stride());
    return places;
  }

  /// x: (images * places) x width, y: (images * places of the result) x width.
  void forward(ConstMatrixView x, MapSize size, Index images, MatrixView y, Workspace& workspace) const {
    const MapSize result = result_size(size);
    workspace.parallel_rows(images * result.places(), block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first, end = first + count; row < end;)
        row += forward_places(x, size, place_of(row, result), kernel(), nullptr, y.rows_of(row, end - row));
    });
  }

  /// Adds the gradients of forward(), from dy: that of x to dx, as norms do, and that of the kernel to grads. No
  /// scratch.
  void backward(ConstMatrixView x, ConstMatrixView dy, MapSize size, Index images, DepthwiseConvolution& grads,
                MatrixView dx, Workspace& workspace) const {
    // Shared out by rows of taps and groups of channels, as every weight is one sum over all places.
    constexpr Index groups = ceil_div(width, group);
    workspace.parallel(window.kernel * groups, [&](Index task, Arena&) {
      grads.add_kernel_gradient(x, dy, size, images, task / groups, task % groups * group);
    });
    workspace.parallel_rows(images * size.places(), block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) input_place(dy, size, place_of(row, size), dx.row_data(row));
    });
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, Role role, const ParameterVisitor<Self>& visit) {
    visit(plain_parameter<ParameterValue<Self>>(join_name(prefix, "kernel"), self.kernel_.data(),
                                                {window.kernel, window.kernel, width}, role));
  }

 private:
  static constexpr Index group = 32;

  /// Whether places_at_once places from `place` on lie in a row of the result, all with every column of the window.
  static bool has_neighbours(const MapPlace& place, MapSize size) {
    const Index last = place.column + places_at_once - 1;
    return last < result_size(size).width && window.taps_at(place.column, size.width).count == window.kernel &&
           window.taps_at(last, size.width).count == window.kernel;
  }

  /// Adds the sums of row `tap_row` of the window for the channels from `first` on, a row of the result at a time.
  void add_kernel_gradient(ConstMatrixView x, ConstMatrixView dy, MapSize size, Index images, Index tap_row,
                           Index first) {
    const MapSize result = result_size(size);
    const Index channels = std::min(group, width - first);
    for (Index image = 0; image < images; ++image)
      for (Index row = 0; row < result.height; ++row) {
        const Index source_row = row * window.stride - window.padding + tap_row;
        if (source_row < 0 || source_row >= size.height) continue;
        for (Index tap = 0; tap < window.kernel; ++tap) {
          // Columns c of the result whose tap c * stride - padding + tap lies inside.
          const Index offset = tap - window.padding, begin = offset < 0 ? ceil_div(-offset, window.stride) : 0;
          const Index end =
              size.width > offset ? std::min(result.width, (size.width - 1 - offset) / window.stride + 1) : 0;
          if (begin >= end) continue;
          const Index source = (image * size.height + source_row) * size.width + begin * window.stride + offset;
          simd::add_channel_products(x.row_data(source) + first, window.stride * x.stride(),
                                     dy.row_data((image * result.height + row) * result.width + begin) + first,
                                     dy.stride(), end - begin, channels,
                                     kernel_.data() + (tap_row * window.kernel + tap) * width + first);
        }
      }
  }

  /// Adds the gradient of one place of x, from the places of the result that it went into.
  void input_place(ConstMatrixView dy, MapSize size, const MapPlace& place, float* dx) const {
    const MapSize result = result_size(size);
    const WindowTaps rows = window.adjoint_taps_at(place.row, result.height);
    const WindowTaps columns = window.adjoint_taps_at(place.column, result.width);
    const Index source = (place.image * result.height + rows.place) * result.width + columns.place;
    simd::sum_taps({.x = rows.count * columns.count > 0 ? dy.row_data(source) : nullptr,
                    .x_row = -result.width * dy.stride(),
                    .x_column = -dy.stride(),
                    .weights = kernel_.data() + (rows.first * window.kernel + columns.first) * width,
                    .weight_row = rows.step * window.kernel * width,
                    .weight_column = columns.step * width,
                    .rows = rows.count,
                    .columns = columns.count},
                   dx, width, dx);
  }

  AlignedBuffer<float> kernel_;
};

}  // namespace moevit
