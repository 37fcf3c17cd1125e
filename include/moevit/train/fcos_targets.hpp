/// What each place of an FCOS detector is to predict.
#pragma once

#include <moevit/models/boxes.hpp>
#include <moevit/models/fcos_levels.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace moevit {

/// Targets of all rows of FcosOutputs.
struct FcosTargets {
  std::vector<std::int32_t> labels;         ///< category, or the number of classes where there is none
  std::vector<std::array<float, 4>> sides;  ///< distances in pixels to left, top, right, bottom; 0 without an object

  Index positives(Index classes) const {
    return std::count_if(labels.begin(), labels.end(), [&](std::int32_t label) { return label != classes; });
  }
};

/// Options of assign_fcos.
struct FcosAssignment {
  /// An object is learned at places that are no further from its centre than this many strides, and in its box.
  double radius = 1.5;
  /// A level has the objects whose farthest side lies up to this many strides away, and more than half as many; the
  /// first one also smaller, the last one also larger ones. The paper's 64, 128, ... pixels at strides 8, 16, ...
  double reach = 8;
};

namespace detail {

/// Distances from a point to the sides of a box; negative outside.
inline std::array<double, 4> sides_from(double x, double y, const Box& box) {
  return {x - box.x, y - box.y, box.right() - x, box.bottom() - y};
}

/// Whether an object is learned at this place of a level.
inline bool is_learned_at(const TrueBox& object, double x, double y, double stride, double least, double most,
                          const FcosAssignment& options) {
  if (object.is_crowd) return false;
  const auto sides = sides_from(x, y, object.box);
  const double nearest = *std::min_element(sides.begin(), sides.end());
  const double farthest = *std::max_element(sides.begin(), sides.end());
  if (!(nearest > 0 && farthest > least && farthest <= most)) return false;
  const double from_centre =
      std::max(std::abs(x - object.box.x - object.box.width / 2), std::abs(y - object.box.y - object.box.height / 2));
  return from_centre < options.radius * stride;
}

inline void check_objects(std::span<const TrueBox> objects, Index classes) {
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (objects[i].category < 0 || objects[i].category >= classes)
      fail("object ", i, ": expected a category from 0 to ", classes - 1, ", found ", objects[i].category);
    const Box& box = objects[i].box;
    if (!std::isfinite(box.x) || !std::isfinite(box.y) || !std::isfinite(box.right()) || !std::isfinite(box.bottom()))
      fail("object ", i, ": its box has numbers that are not finite");
  }
}

}  // namespace detail

/// Gives every place the smallest of the objects that are learned there (Tian et al. 2019, section 3.2, with centre
/// sampling), the first of equal ones. Crowds are nowhere learned. objects: those of each image. Throws Error naming
/// the object when one has no category below `classes`, or a number that is not finite.
inline void assign_fcos(std::span<const std::vector<TrueBox>> objects, std::span<const FcosLevel> levels, Index classes,
                        const FcosAssignment& options, FcosTargets& targets) {
  if (!(options.radius > 0 && options.reach > 0))
    fail("FCOS targets: expected a radius and a reach above 0, found ", options.radius, " and ", options.reach);
  const auto rows = static_cast<std::size_t>(std::ssize(objects) * places_of(levels));
  targets.labels.assign(rows, static_cast<std::int32_t>(classes));
  targets.sides.assign(rows, {});
  for (const auto& list : objects) detail::check_objects(list, classes);
  std::size_t row = 0;
  for (std::size_t number = 0; number < levels.size(); ++number) {
    const FcosLevel& level = levels[number];
    const auto stride = static_cast<double>(level.stride);
    const double least = number == 0 ? 0 : options.reach / 2 * stride;
    const double most = number + 1 == levels.size() ? std::numeric_limits<double>::infinity() : options.reach * stride;
    for (const auto& list : objects)
      for (Index place = 0; place < level.size.places(); ++place, ++row) {
        double smallest = std::numeric_limits<double>::infinity();
        for (const TrueBox& object : list) {
          const double x = level.x(place), y = level.y(place);
          if (!(object.box.area() < smallest) || !detail::is_learned_at(object, x, y, stride, least, most, options))
            continue;
          smallest = object.box.area();
          targets.labels[row] = object.category;
          const auto sides = detail::sides_from(x, y, object.box);
          for (std::size_t i = 0; i < 4; ++i) targets.sides[row][i] = static_cast<float>(sides[i]);
        }
      }
  }
}

/// How near a place is to the middle of its box: sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)), from 0 to 1
/// (equation 3 of the paper).
inline double centreness(const std::array<float, 4>& sides) {
  const auto ratio = [](float a, float b) {
    return static_cast<double>(std::min(a, b)) / static_cast<double>(std::max(a, b));
  };
  return std::sqrt(ratio(sides[0], sides[2]) * ratio(sides[1], sides[3]));
}

}  // namespace moevit
