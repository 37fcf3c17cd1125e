/// Height and width of the maps of hierarchical models.
#pragma once

#include <moevit/core/index.hpp>

namespace moevit {

/// Height and width of a map in places (pixels of an image, tokens of a stage).
///
/// A map of N images is a MatrixView of (N * height * width) x channels, rows in (image, row, column) order; an image
/// is the map whose width are its channels.
struct MapSize {
  Index height = 0;
  Index width = 0;

  constexpr bool operator==(const MapSize&) const = default;

  constexpr Index places() const { return height * width; }
  /// The map whose places are cells of `cell_height` x `cell_width` places of this one; cells at the right and bottom
  /// may stand over.
  constexpr MapSize in_cells(Index cell_height, Index cell_width) const {
    return {ceil_div(height, cell_height), ceil_div(width, cell_width)};
  }
};

}  // namespace moevit
