/// How good a detector is: the twelve numbers of COCO (Lin et al. 2014), computed as pycocotools does.
#pragma once

#include <moevit/models/boxes.hpp>

#include <array>
#include <cstddef>
#include <limits>
#include <optional>

namespace moevit {

/// What is in an image.
struct TrueBox {
  Box box;
  std::int32_t category = 0;
  double area = 0;        ///< of the object, which decides whether it is small, medium or large; COCO's files name it
  bool is_crowd = false;  ///< stands for many: detections in it count neither as right nor as wrong
};

/// One image, with what is there and what was found.
struct ScoredImage {
  std::vector<TrueBox> truth;
  std::vector<Detection> detections;
};

/// Objects that count, by their area in pixels: all, up to 32^2, from 32^2 to 96^2, from 96^2.
enum class ObjectSize : unsigned char { all, small, medium, large };

namespace detail {
/// A mean that is not divided yet.
struct MeanParts {
  double sum = 0;
  Index count = 0;
};
}  // namespace detail

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
    for (std::int32_t category = 0; category < categories; ++category)
      for (std::size_t size = 0; size < sizes; ++size) accumulate(images, category, static_cast<ObjectSize>(size));
  }

  /// Mean over categories, thresholds and 101 recalls: COCO's AP.
  double average_precision(ObjectSize size = ObjectSize::all) const {
    return mean([&](const Curve& curve) { return curve.size == size ? curve.precision() : nothing; });
  }
  /// At one threshold: 0 is IoU 0.5 (AP50), 5 is 0.75 (AP75).
  double average_precision_at(std::size_t threshold) const {
    return mean([&](const Curve& curve) {
      return curve.size == ObjectSize::all && curve.threshold == threshold ? curve.precision() : nothing;
    });
  }
  /// Of one category; over all thresholds, or at one.
  double average_precision_of(std::int32_t category, std::optional<std::size_t> threshold = {}) const {
    return mean([&](const Curve& curve) {
      const bool asked =
          curve.size == ObjectSize::all && curve.category == category && (!threshold || curve.threshold == *threshold);
      return asked ? curve.precision() : nothing;
    });
  }
  /// Mean of the largest recall with at most most[limit] detections of a category per image: COCO's AR.
  double average_recall(std::size_t limit = 2, ObjectSize size = ObjectSize::all) const {
    return mean([&](const Curve& curve) { return curve.size == size ? Mean{curve.recall[limit], 1} : nothing; });
  }

 private:
  using Mean = detail::MeanParts;
  static constexpr Mean nothing{};

  /// One category, size and threshold.
  struct Curve {
    std::int32_t category = 0;
    ObjectSize size = ObjectSize::all;
    std::size_t threshold = 0;
    std::array<double, limits> recall{};
    std::array<double, recalls> precision_at{};  ///< with most[2] detections

    Mean precision() const {
      return {std::accumulate(precision_at.begin(), precision_at.end(), 0.), static_cast<Index>(recalls)};
    }
  };

  /// One detection of a category at one threshold.
  struct Outcome {
    double score = 0;
    Index rank = 0;  ///< in its image, best first
    bool is_matched = false, is_ignored = false;
  };

  template <class F>
  double mean(F of) const {
    Mean all;
    for (const Curve& curve : curves_) {
      const Mean one = of(curve);
      all.sum += one.sum, all.count += one.count;
    }
    return all.count == 0 ? -1. : all.sum / static_cast<double>(all.count);
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

  void accumulate(std::span<const ScoredImage> images, std::int32_t category, ObjectSize size) {
    Index objects = 0;
    std::array<std::vector<Outcome>, thresholds> outcomes;
    for (const ScoredImage& image : images) objects += match_image(image, category, size, outcomes);
    if (objects == 0) return;
    for (std::size_t threshold = 0; threshold < thresholds; ++threshold) {
      Curve curve{category, size, threshold, {}, {}};
      std::stable_sort(outcomes[threshold].begin(), outcomes[threshold].end(),
                       [](const Outcome& a, const Outcome& b) { return a.score > b.score; });
      for (std::size_t limit = 0; limit < limits; ++limit)
        curve.recall[limit] = trace(outcomes[threshold], most[limit], objects, curve.precision_at);
      curves_.push_back(curve);
    }
  }

  /// Adds the outcomes of an image's detections at all thresholds; returns how many objects were to be found.
  static Index match_image(const ScoredImage& image, std::int32_t category, ObjectSize size,
                           std::array<std::vector<Outcome>, thresholds>& outcomes) {
    // Objects that count come first, so that a detection takes one of them if it can.
    std::vector<const TrueBox*> objects;
    for (const bool ignored : {false, true})
      for (const TrueBox& object : image.truth)
        if (object.category == category && is_ignored(object, size) == ignored) objects.push_back(&object);
    std::vector<Detection> detections;
    for (const Index number : by_score(image.detections)) {
      const Detection& detection = image.detections[static_cast<std::size_t>(number)];
      if (detection.category == category && std::ssize(detections) < most.back()) detections.push_back(detection);
    }
    for (std::size_t threshold = 0; threshold < thresholds; ++threshold) {
      std::vector<bool> taken(objects.size());
      for (std::size_t rank = 0; rank < detections.size(); ++rank) {
        const Detection& detection = detections[rank];
        Outcome outcome{detection.score, static_cast<Index>(rank), false, false};
        if (const auto best = best_object(detection.box, objects, taken, size, iou_threshold(threshold))) {
          taken[*best] = true;
          outcome.is_matched = true, outcome.is_ignored = is_ignored(*objects[*best], size);
        } else {
          outcome.is_ignored = !is_of_size(detection.box.area(), size);
        }
        outcomes[threshold].push_back(outcome);
      }
    }
    return std::count_if(objects.begin(), objects.end(),
                         [&](const TrueBox* object) { return !is_ignored(*object, size); });
  }

  static bool is_ignored(const TrueBox& object, ObjectSize size) {
    return object.is_crowd || !is_of_size(object.area, size);
  }

  /// The free object that the box overlaps most, from the threshold on; the last one of several with the same overlap.
  /// A crowd is never taken, and its overlap is the share of the box that lies in it.
  static std::optional<std::size_t> best_object(const Box& box, const std::vector<const TrueBox*>& objects,
                                                const std::vector<bool>& taken, ObjectSize size, double threshold) {
    double best_overlap = std::min(threshold, 1 - 1e-10);
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < objects.size(); ++i) {
      const TrueBox& object = *objects[i];
      if (taken[i] && !object.is_crowd) continue;
      if (best && !is_ignored(*objects[*best], size) && is_ignored(object, size)) break;
      const double shared = overlap(object.box, box);
      const double of = object.is_crowd ? box.area() : box.area() + object.box.area() - shared;
      const double share = shared > 0 ? shared / of : 0.;
      if (share < best_overlap) continue;
      best_overlap = share, best = i;
    }
    return best;
  }

  /// Goes down the detections with rank below `limit`: returns the recall behind the last, and the best precision from
  /// each recall level on.
  static double trace(const std::vector<Outcome>& outcomes, Index limit, Index objects,
                      std::array<double, recalls>& precision_at) {
    std::vector<double> recall, precision;
    double right = 0, wrong = 0;
    for (const Outcome& outcome : outcomes) {
      if (outcome.rank >= limit) continue;
      if (!outcome.is_ignored) (outcome.is_matched ? right : wrong) += 1;
      recall.push_back(right / static_cast<double>(objects));
      precision.push_back(right / (right + wrong + std::numeric_limits<double>::epsilon()));
    }
    for (std::size_t i = precision.size(); i-- > 1;) precision[i - 1] = std::max(precision[i - 1], precision[i]);
    for (std::size_t level = 0; level < recalls; ++level) {
      const auto first = std::lower_bound(recall.begin(), recall.end(), recall_level(level));
      precision_at[level] = first == recall.end() ? 0. : precision[static_cast<std::size_t>(first - recall.begin())];
    }
    return recall.empty() ? 0. : recall.back();
  }

  Index categories_;
  std::vector<Curve> curves_;
};

}  // namespace moevit
