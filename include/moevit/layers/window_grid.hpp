/// Which places of a map stand in which window, for shifted windows (Swin).
#pragma once

#include <moevit/core/map_size.hpp>

#include <algorithm>

namespace moevit {

/// A map that is padded at the right and bottom to whole windows, rolled `shift` places up and to the left, and cut
/// into windows of `window` x `window` places. Rows in window order are (window, row, column); places in map order are
/// (row, column). Source: Liu et al. 2021, section 3.2.
class WindowGrid {
 public:
  /// shift: 0 to below window.
  constexpr WindowGrid(MapSize map, Index window, Index shift)
      : map_(map), window_(window), shift_(shift), padded_{round_up(map.height, window), round_up(map.width, window)} {}

  constexpr MapSize map() const { return map_; }
  constexpr Index area() const { return window_ * window_; }
  constexpr Index windows() const { return padded_.places() / area(); }
  /// Places with padding.
  constexpr Index rows() const { return padded_.places(); }

  /// The place of the map that a row in window order stands for, -1 for padding.
  constexpr Index place_of(Index row) const {
    const Index y = unrolled(corner(row / area()).height + row % area() / window_, padded_.height);
    const Index x = unrolled(corner(row / area()).width + row % window_, padded_.width);
    return y < map_.height && x < map_.width ? y * map_.width + x : -1;
  }
  /// The row in window order of a place of the map.
  constexpr Index row_of(Index place) const {
    const Index y = rolled(place / map_.width, padded_.height), x = rolled(place % map_.width, padded_.width);
    const Index window = y / window_ * (padded_.width / window_) + x / window_;
    return window * area() + y % window_ * window_ + x % window_;
  }

  /// The same of a row of many maps, one behind the other in both orders.
  constexpr Index row_of_map(Index row) const { return row / map_.places() * rows() + row_of(row % map_.places()); }

  /// Whether some places of a window were not neighbours before the roll.
  constexpr bool is_mixed(Index window) const {
    const MapSize first = corner(window);
    return shift_ > 0 && (first.height + window_ == padded_.height || first.width + window_ == padded_.width);
  }
  /// Which of the parts that were neighbours a place of a window belongs to.
  constexpr Index part_of(Index window, Index place) const {
    const MapSize first = corner(window);
    return 3 * part(first.height + place / window_, padded_.height) +
           part(first.width + place % window_, padded_.width);
  }

 private:
  constexpr MapSize corner(Index window) const {
    const Index columns = padded_.width / window_;
    return {window / columns * window_, window % columns * window_};
  }
  constexpr Index unrolled(Index position, Index extent) const { return (position + shift_) % extent; }
  constexpr Index rolled(Index position, Index extent) const { return (position + extent - shift_) % extent; }
  constexpr Index part(Index position, Index extent) const {
    return position < extent - window_ ? 0 : position < extent - shift_ ? 1 : 2;
  }

  MapSize map_;
  Index window_;
  Index shift_;
  MapSize padded_;
};

}  // namespace moevit
