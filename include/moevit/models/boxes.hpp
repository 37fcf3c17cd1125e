/// Boxes in images, how much two of them overlap, and which of many detections of one thing is kept.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/index.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace moevit {

/// A rectangle in pixels, as COCO has it: its left upper corner and its sides.
struct Box {
  double x = 0, y = 0, width = 0, height = 0;

  constexpr double area() const { return width * height; }
  constexpr double right() const { return x + width; }
  constexpr double bottom() const { return y + height; }
  constexpr bool operator==(const Box&) const = default;
};

/// What two boxes share; a box without sides when they only touch.
constexpr Box intersection(const Box& a, const Box& b) {
  const double x = std::max(a.x, b.x), y = std::max(a.y, b.y);
  const double width = std::min(a.right(), b.right()) - x, height = std::min(a.bottom(), b.bottom()) - y;
  return width > 0 && height > 0 ? Box{x, y, width, height} : Box{};
}

/// Area that two boxes share; 0 when they only touch.
constexpr double overlap(const Box& a, const Box& b) { return intersection(a, b).area(); }

/// Intersection over union; 0 for boxes without area.
constexpr double iou(const Box& a, const Box& b) {
  const double shared = overlap(a, b);
  return shared > 0 ? shared / (a.area() + b.area() - shared) : 0.;
}

/// What is in an image.
struct TrueBox {
  Box box;
  std::int32_t category = 0;
  double area = 0;        ///< of the object, which decides whether it is small, medium or large; COCO's files name it
  bool is_crowd = false;  ///< stands for many: detections in it count neither as right nor as wrong

  constexpr bool operator==(const TrueBox&) const = default;
};

/// What a detector says it has seen.
struct Detection {
  Box box;
  std::int32_t category = 0;
  double score = 0;
};

/// Numbers of the detections from the highest score down; equal scores as they come. Throws Error naming the detection
/// when a score is not a number.
inline std::vector<Index> by_score(std::span<const Detection> detections) {
  for (std::size_t i = 0; i < detections.size(); ++i)
    if (std::isnan(detections[i].score)) fail("detection ", i, ": its score is not a number");
  std::vector<Index> order(detections.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return detections[static_cast<std::size_t>(a)].score > detections[static_cast<std::size_t>(b)].score;
  });
  return order;
}

/// Options of non_maximum_suppression.
struct SuppressionOptions {
  double iou = 0.6;  ///< a detection that overlaps a better one of its category by more than this is dropped
  Index most = 100;  ///< that are kept in all
  bool across_categories = false;  ///< true: categories do not matter
};

/// Numbers of the detections that are kept, best first. Throws Error as by_score.
inline std::vector<Index> non_maximum_suppression(std::span<const Detection> detections,
                                                  const SuppressionOptions& options = {}) {
  std::vector<Index> kept;
  for (const Index number : by_score(detections)) {
    if (std::ssize(kept) >= options.most) break;
    const Detection& candidate = detections[static_cast<std::size_t>(number)];
    const bool is_seen = std::any_of(kept.begin(), kept.end(), [&](Index other) {
      const Detection& better = detections[static_cast<std::size_t>(other)];
      return (options.across_categories || better.category == candidate.category) &&
             iou(better.box, candidate.box) > options.iou;
    });
    if (!is_seen) kept.push_back(number);
  }
  return kept;
}

}  // namespace moevit
