/// Windows that cover a large image, one beside the other.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/map_size.hpp>

#include <algorithm>

namespace moevit {

/// Size of the windows, and from one to the next. The last of a row or column is moved back into the image.
struct SlidingWindow {
  MapSize window{512, 512};
  MapSize stride{341, 341};

  /// Throws Error when windows would leave pixels out.
  void check() const {
    const auto check_side = [](const char* side, Index extent, Index step) {
      if (extent < 1 || step < 1 || step > extent)
        fail("sliding window: expected a ", side, " of at least 1 and a stride from 1 to it, found ", extent, " and ",
             step);
    };
    check_side("height", window.height, stride.height);
    check_side("width", window.width, stride.width);
  }
  /// The window on an image, which may be smaller.
  constexpr MapSize window_of(MapSize image) const {
    return {std::min(window.height, image.height), std::min(window.width, image.width)};
  }
};

/// The windows along one side of an image, which is not shorter than one.
class WindowsAlong {
 public:
  constexpr WindowsAlong(Index extent, Index window, Index stride)
      : last_(extent - window), window_(window), stride_(stride) {}

  constexpr Index count() const { return ceil_div(last_, stride_) + 1; }
  constexpr Index start(Index number) const { return std::min(number * stride_, last_); }
  /// How many of them contain a place.
  constexpr Index covering(Index place) const {
    Index windows = 0;
    for (Index i = 0; i < count(); ++i) windows += place >= start(i) && place < start(i) + window_;
    return windows;
  }

 private:
  Index last_, window_, stride_;
};

}  // namespace moevit
