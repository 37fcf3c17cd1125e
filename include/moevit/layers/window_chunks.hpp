/// The windows of a convolution in chunks, none of which leaves a row of the window: mostly they are multiplied where
/// they lie in the map.
#pragma once

#include <moevit/core/convolution_window.hpp>
#include <moevit/core/tensor.hpp>

namespace moevit {

/// A part of a window: `taps` taps of its row `row` from `tap` on, of which `channels` channels from `channel` on. One
/// of the two is whole.
struct WindowChunk {
  Index row = 0;
  Index tap = 0, taps = 0;
  Index channel = 0, channels = 0;
};

/// Chunks of windows over `inputs` channels.
template <Index inputs, ConvolutionWindow window>
class WindowChunks {
  static constexpr Index most = 384;
  // A chunk is a whole row of the window, or one of `parts` parts of a tap.
  static constexpr bool is_row = window.kernel * inputs <= most;
  static constexpr Index parts = ceil_div(inputs, most);

 public:
  /// Floats of the widest chunk.
  static constexpr Index width = is_row ? window.kernel * inputs : round_up(ceil_div(inputs, parts), Index{16});
  /// Whether windows are wide enough for chunks to pay (3 x 3 x 256 are not: 0.97 of the speed), and all kinds of
  /// weights can be cut there.
  static constexpr bool are_useful = window.kernel > 1 && window.taps() * inputs >= 2560 &&
                                     (is_row ? width : inputs) % 4 == 0;

  /// f(chunk) for all chunks, in the order of the kernel's rows.
  template <class F>
  static void each(F f) {
    for (Index row = 0; row < window.kernel; ++row) {
      if (is_row) f(WindowChunk{row, 0, window.kernel, 0, inputs});
      for (Index tap = 0; tap < window.kernel && !is_row; ++tap)
        for (Index channel = 0; channel < inputs; channel += width)
          f(WindowChunk{row, tap, 1, channel, std::min(width, inputs - channel)});
    }
  }

  /// The floats of a chunk of the window whose corner lies at `corner` of the map, which may be beside it: where they
  /// are in x, or in `room` with zeros for what is beside the map.
  static const float* find(ConstMatrixView x, MapSize size, const MapPlace& corner, const WindowChunk& chunk,
                           float* room) {
    const Index row = corner.row + chunk.row, column = corner.column + chunk.tap;
    const Index source = (corner.image * size.height + row) * size.width + column;
    const bool is_inside = row >= 0 && row < size.height;
    if (is_inside && column >= 0 && column + chunk.taps <= size.width && (chunk.taps == 1 || x.stride() == inputs))
      return x.row_data(source) + chunk.channel;
    std::fill_n(room, chunk.taps * chunk.channels, 0.f);
    if (is_inside)
      for (Index tap = std::max(Index{0}, -column); tap < std::min(chunk.taps, size.width - column); ++tap)
        std::copy_n(x.row_data(source + tap) + chunk.channel, chunk.channels, room + tap * chunk.channels);
    return room;
  }
};

}  // namespace moevit
