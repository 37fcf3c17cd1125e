/// How good a detector is: the twelve numbers of COCO (Lin et al. 2014), computed as pycocotools does.
#pragma once

#include <moevit/models/boxes.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <optional>

namespace moevit {

/// One image, with what is there and what was found.
struct ScoredImage {
  std::vector<TrueBox> truth;
  std::vector<Detection> detections;
};

/// Objects that count, by their area in pixels: all, up to 32^2, from 32^2 to 96^2, from 96^2.
enum class ObjectSize : unsigned char { all, small, medium, large };

/// Precision and recall over ten thresholds of IoU, 0.5 to 0.95; -1 where there is no object to find.
class DetectionScores {
 public:
  static constexpr std::size_t thresholds = 10, recalls = 101, sizes = 4, limits = 3;
  /// Detections of a category that count per image.
  static constexpr std::array<Index, limits> most{1, 10, 100};

  /// Images in the order that decides between equal scores: COCO's is by number. Categories from 0 to below
  /// `categories`. Throws Error naming image and box when a category is none of these, when a number is not finite and
  /// when a side is negative.
  DetectionScores(std::span<const ScoredImage> images, Index categories) : categories_(categories) {
    for (std::size_t image = 0; image < images.size(); ++image) check(images[image], image);
    for (std::int32_t category = 0; category < categories; ++category) {
      std::vector<Candidates> candidates;
      for (const ScoredImage& image : images) candidates.push_back(candidates_of(image, category));
      for (std::size_t size = 0; size < sizes; ++size) accumulate(candidates, category, static_cast<ObjectSize>(size));
    }
  }

  /// Mean over categories, thresholds and 101 recalls: COCO's AP.
  double average_precision(ObjectSize size = ObjectSize::all) const {
    return mean(&Curve::precision, [&](const Curve& curve) { return curve.size == size; });
  }
  /// At one threshold: 0 is IoU 0.5 (AP50), 5 is 0.75 (AP75).
  double average_precision_at(std::size_t threshold) const {
    return mean(&Curve::precision,
                [&](const Curve& curve) { return curve.size == ObjectSize::all && curve.threshold == threshold; });
  }
  /// Of one category; over all thresholds, or at one.
  double average_precision_of(std::int32_t category, std::optional<std::size_t> threshold = {}) const {
    return mean(&Curve::precision, [&](const Curve& curve) {
      return curve.size == ObjectSize::all && curve.category == category &&
             (!threshold || curve.threshold == *threshold);
    });
  }
  /// Mean of the largest recall with at most most[limit] detections of a category per image: COCO's AR.
  double average_recall(std::size_t limit = 2, ObjectSize size = ObjectSize::all) const {
    return mean([&](const Curve& curve) { return curve.recall[limit]; },
                [&](const Curve& curve) { return curve.size == size; });
  }

 private:
  /// One category, size and threshold.
  struct Curve {
    std::int32_t category = 0;
    ObjectSize size = ObjectSize::all;
    std::size_t threshold = 0;
    std::array<double, limits> recall{};
    double precision = 0;  ///< mean over the recall levels, with most[2] detections
  };

  /// One detection of a category at one threshold.
  struct Outcome {
    double score = 0;
    Index rank = 0;  ///< in its image, best first
    bool is_matched = false, is_ignored = false;
  };

  /// What one image has of a category, and how much each detection overlaps each object.
  struct Candidates {
    std::vector<TrueBox> objects;
    std::vector<Detection> detections;  ///< best first, as many as count
    std::vector<double> overlaps;       ///< detections x objects
  };

  template <class Value, class Asked>
  double mean(Value value, Asked asked) const {
    double sum = 0;
    Index count = 0;
    for (const Curve& curve : curves_)
      if (asked(curve)) sum += std::invoke(value, curve), ++count;
    return count == 0 ? -1. : sum / static_cast<double>(count);
  }

  // As numpy.linspace makes them, last values exact.
  static double iou_threshold(std::size_t i) {
    return i + 1 == thresholds ? 0.95 : static_cast<double>(i) * ((0.95 - 0.5) / 9) + 0.5;
  }
  static double recall_level(std::size_t i) { return i + 1 == recalls ? 1. : static_cast<double>(i) * 0.01; }

  static bool is_of_size(double area, ObjectSize size) {
    constexpr double small = 32 * 32, large = 96 * 96, endless = 1e10;
    constexpr std::array<double, sizes> from{0, 0, small, large}, to{endless, small, large, endless};
    const auto number = static_cast<std::size_t>(size);
    return area >= from[number] && area <= to[number];
  }

  void check(const ScoredImage& image, std::size_t number) const {
    const auto check_one = [&](const char* what, std::size_t i, std::int32_t category, const Box& box, double value) {
      if (category < 0 || category >= categories_)
        fail("image ", number, ", ", what, " ", i, ": expected a category from 0 to ", categories_ - 1, ", found ",
             category);
      if (!std::isfinite(box.x) || !std::isfinite(box.y) || !(box.width >= 0) || !(box.height >= 0) ||
          !std::isfinite(box.area()) || !std::isfinite(value))
        fail("image ", number, ", ", what, " ", i, ": expected finite numbers and sides of at least 0, found x ", box.x,
             ", y ", box.y, ", width ", box.width, ", height ", box.height, ", score or area ", value);
    };
    for (std::size_t i = 0; i < image.truth.size(); ++i)
      check_one("true box", i, image.truth[i].category, image.truth[i].box, image.truth[i].area);
    for (std::size_t i = 0; i < image.detections.size(); ++i)
      check_one("detection", i, image.detections[i].category, image.detections[i].box, image.detections[i].score);
  }

  static Candidates candidates_of(const ScoredImage& image, std::int32_t category) {
    Candidates found;
    for (const TrueBox& object : image.truth)
      if (object.category == category) found.objects.push_back(object);
    std::vector<Detection> own;
    for (const Detection& detection : image.detections)
      if (detection.category == category) own.push_back(detection);
    for (const Index number : by_score(own))
      if (std::ssize(found.detections) < most.back()) found.detections.push_back(own[static_cast<std::size_t>(number)]);
    for (const Detection& detection : found.detections)
      for (const TrueBox& object : found.objects) found.overlaps.push_back(overlap_share(detection.box, object));
    return found;
  }
  /// IoU; with a crowd the share of the box that lies in it.
  static double overlap_share(const Box& box, const TrueBox& object) {
    if (!object.is_crowd) return iou(object.box, box);
    const double shared = overlap(object.box, box);
    return shared > 0 ? shared / box.area() : 0.;
  }

  void accumulate(std::span<const Candidates> images, std::int32_t category, ObjectSize size) {
    Index objects = 0;
    for (const Candidates& image : images)
      objects += std::count_if(image.objects.begin(), image.objects.end(),
                               [&](const TrueBox& object) { return !is_ignored(object, size); });
    if (objects == 0) return;
    for (std::size_t threshold = 0; threshold < thresholds; ++threshold) {
      std::vector<Outcome> outcomes;
      for (const Candidates& image : images) match_image(image, size, iou_threshold(threshold), outcomes);
      std::stable_sort(outcomes.begin(), outcomes.end(),
                       [](const Outcome& a, const Outcome& b) { return a.score > b.score; });
      Curve curve{category, size, threshold, {}, mean_precision(outcomes, objects)};
      for (std::size_t limit = 0; limit < limits; ++limit)
        curve.recall[limit] = recall_within(outcomes, most[limit], objects);
      curves_.push_back(curve);
    }
  }

  /// Adds the outcomes of an image's detections.
  static void match_image(const Candidates& image, ObjectSize size, double threshold, std::vector<Outcome>& outcomes) {
    // Objects that count come first, so that a detection takes one of them if it can.
    std::vector<std::size_t> order;
    for (const bool ignored : {false, true})
      for (std::size_t i = 0; i < image.objects.size(); ++i)
        if (is_ignored(image.objects[i], size) == ignored) order.push_back(i);
    std::vector<bool> taken(image.objects.size());
    for (std::size_t rank = 0; rank < image.detections.size(); ++rank) {
      const Detection& detection = image.detections[rank];
      Outcome outcome{detection.score, static_cast<Index>(rank), false, false};
      if (const auto best = best_object(image, rank, order, taken, size, threshold)) {
        taken[*best] = true;
        outcome.is_matched = true, outcome.is_ignored = is_ignored(image.objects[*best], size);
      } else {
        outcome.is_ignored = !is_of_size(detection.box.area(), size);
      }
      outcomes.push_back(outcome);
    }
  }

  static bool is_ignored(const TrueBox& object, ObjectSize size) {
    return object.is_crowd || !is_of_size(object.area, size);
  }

  /// The free object that a detection overlaps most, from the threshold on; the last one of several with the same
  /// overlap. A crowd is never taken.
  static std::optional<std::size_t> best_object(const Candidates& image, std::size_t detection,
                                                const std::vector<std::size_t>& order, const std::vector<bool>& taken,
                                                ObjectSize size, double threshold) {
    double best_overlap = std::min(threshold, 1 - 1e-10);
    std::optional<std::size_t> best;
    for (const std::size_t i : order) {
      const TrueBox& object = image.objects[i];
      if (taken[i] && !object.is_crowd) continue;
      if (best && !is_ignored(image.objects[*best], size) && is_ignored(object, size)) break;
      const double share = image.overlaps[detection * image.objects.size() + i];
      if (share < best_overlap) continue;
      best_overlap = share, best = i;
    }
    return best;
  }

  static bool is_right(const Outcome& outcome) { return outcome.is_matched && !outcome.is_ignored; }

  /// The share of the objects that are found by detections of rank below `limit`.
  static double recall_within(const std::vector<Outcome>& outcomes, Index limit, Index objects) {
    const auto right = std::count_if(outcomes.begin(), outcomes.end(),
                                     [&](const Outcome& outcome) { return outcome.rank < limit && is_right(outcome); });
    return static_cast<double>(right) / static_cast<double>(objects);
  }

  /// Mean over the recall levels of the best precision from that recall on, down the outcomes.
  static double mean_precision(const std::vector<Outcome>& outcomes, Index objects) {
    std::vector<double> recall, precision;
    double right = 0, wrong = 0;
    for (const Outcome& outcome : outcomes) {
      if (!outcome.is_ignored) (is_right(outcome) ? right : wrong) += 1;
      recall.push_back(right / static_cast<double>(objects));
      precision.push_back(right / (right + wrong + std::numeric_limits<double>::epsilon()));
    }
    for (std::size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
    double sum = 0;
    for (std::size_t level = 0; level < recalls; ++level) {
      const auto first = std::lower_bound(recall.begin(), recall.end(), recall_level(level));
      if (first != recall.end()) sum += precision[static_cast<std::size_t>(first - recall.begin())];
    }
    return sum / static_cast<double>(recalls);
  }

  Index categories_;
  std::vector<Curve> curves_;
};

}  // namespace moevit
