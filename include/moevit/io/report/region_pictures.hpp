/// Pictures of images whose regions have the colours of the experts that took them.
#pragma once

#include <moevit/io/report/dense_pictures.hpp>
#include <moevit/io/report/region_routing.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

namespace moevit::report {

/// What region masks hold where no expert computed a place.
inline constexpr std::uint8_t no_expert = std::numeric_limits<std::uint8_t>::max();

/// The number of the expert that took the place over each pixel, no_expert where none did. The picture has any size;
/// the model saw it as `seen` pixels. Throws Error for more experts than a mask has numbers.
inline Image region_mask(MapSize picture, MapSize seen, const BlockRegions& block) {
  if (block.where.experts > no_expert)
    fail("picture of regions: expected at most ", int{no_expert}, " experts, found ", block.where.experts);
  const auto place_of = [&](Index pixel, Index pixels, Index seen_pixels, Index places) {
    const Index centre = (2 * pixel + 1) * seen_pixels / (2 * pixels);
    return std::min(centre / block.where.stride, places - 1);
  };
  Image mask(picture.height, picture.width, 1);
  for (Index y = 0; y < picture.height; ++y) {
    const Index row = place_of(y, picture.height, seen.height, block.map.height) * block.map.width;
    for (Index x = 0; x < picture.width; ++x) {
      const auto place = static_cast<std::size_t>(row + place_of(x, picture.width, seen.width, block.map.width));
      const int expert = block.places.expert.at(place);
      mask.row(y)[x] = expert < 0 || block.places.dropped[place] ? no_expert : static_cast<std::uint8_t>(expert);
    }
  }
  return mask;
}

/// The image with its regions in the colours of their experts; dimmed where no expert computed them.
inline std::string region_picture(const Image& image, MapSize seen, const BlockRegions& block,
                                  const std::string& label) {
  const Image mask = region_mask({image.height(), image.width()}, seen, block);
  return image_picture(class_overlay(image, mask, block.where.experts, no_expert), label);
}

}  // namespace moevit::report
