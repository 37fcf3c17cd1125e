/// The classifier behind the last map of a hierarchical model.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/map_size.hpp>

namespace moevit {

/// A configuration whose tokens are the places of a map of `features` channels: final norm, mean, no positions. Its
/// classes, head, activation and epsilon are the caller's to set.
constexpr VitConfig map_classifier(MapSize map, Index features) {
  return {.image = map.height,
          .patch = 1,
          .channels = 1,
          .dim = features,
          .depth = 1,
          .heads = 1,
          .hidden = features,
          .image_width = map.width,
          .head = Head::mean,
          .positions = Positions::none};
}

}  // namespace moevit
