/// From what FCOS predicts to detections.
#pragma once

#include <moevit/core/finite.hpp>
#include <moevit/models/boxes.hpp>
#include <moevit/models/fcos_levels.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <tuple>
#include <vector>

namespace moevit {

/// Which predictions become detections.
struct DetectionOptions {
  double least_score = 0.05;  ///< a detection needs more
  Index candidates = 1000;    ///< per level, before detections of one object are made one
  SuppressionOptions suppression = {};
};

namespace detail {

inline double sigmoid(float x) { return 1. / (1. + std::exp(-static_cast<double>(x))); }

/// A little less than the logit of a probability; infinite beyond its range.
inline double least_logit(double probability) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (probability >= 1) return infinity;
  return probability > 0 ? std::log(probability / (1. - probability)) - 1e-6 : -infinity;
}

/// The best candidates of one image on one level: scores are sqrt(class * centre-ness).
inline void add_candidates(ConstMatrixView classes, ConstMatrixView boxes, const FcosLevel& level, MapSize image,
                           const DetectionOptions& options, std::vector<Detection>& found) {
  struct Candidate {
    double score;
    Index place, category;
  };
  std::vector<Candidate> candidates;
  for (Index place = 0; place < classes.rows(); ++place) {
    const double centre = sigmoid(boxes(place, 4));
    const double limit = least_logit(options.least_score * options.least_score / centre);
    for (Index category = 0; category < classes.cols(); ++category) {
      if (static_cast<double>(classes(place, category)) < limit) continue;  // most of them, without an exp
      const double score = std::sqrt(sigmoid(classes(place, category)) * centre);
      if (score > options.least_score) candidates.push_back({score, place, category});
    }
  }
  const auto kept = candidates.begin() + std::min(std::ssize(candidates), options.candidates);
  std::partial_sort(candidates.begin(), kept, candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tuple(-a.score, a.place, a.category) < std::tuple(-b.score, b.place, b.category);
  });
  const Box whole{0, 0, static_cast<double>(image.width), static_cast<double>(image.height)};
  std::for_each(candidates.begin(), kept, [&](const Candidate& candidate) {
    const float* sides = boxes.row_data(candidate.place);
    const double left = level.x(candidate.place) - static_cast<double>(sides[0]);
    const double top = level.y(candidate.place) - static_cast<double>(sides[1]);
    const double right = level.x(candidate.place) + static_cast<double>(sides[2]);
    const double bottom = level.y(candidate.place) + static_cast<double>(sides[3]);
    const Box box = intersection({left, top, right - left, bottom - top}, whole);
    if (box.area() > 0) found.push_back({box, static_cast<std::int32_t>(candidate.category), candidate.score});
  });
}

}  // namespace detail

/// Throws Error when the options make no sense.
inline void check_detection_options(const DetectionOptions& options) {
  if (!(options.least_score >= 0 && options.least_score < 1))
    fail("detection: expected a least score from 0 to below 1, found ", options.least_score);
  if (options.candidates < 1) fail("detection: expected at least 1 candidate per level, found ", options.candidates);
  if (options.suppression.most < 1) fail("detection: expected room for at least 1, found ", options.suppression.most);
  if (!(options.suppression.iou >= 0 && options.suppression.iou <= 1))
    fail("detection: expected an overlap from 0 to 1, found ", options.suppression.iou);
}

/// Detections of each image, best first: the best candidates of each level, boxes cut at the sides of the image,
/// without those that overlap a better one of their class. Throws Error when a number is not finite or options make no
/// sense.
inline std::vector<std::vector<Detection>> decode_fcos(const FcosOutputs<const float>& outputs, MapSize image,
                                                       const DetectionOptions& options = {}) {
  check_detection_options(options);
  require_finite("class logits of the detector", outputs.classes());
  require_finite("boxes of the detector", outputs.boxes());
  std::vector<std::vector<Detection>> all(static_cast<std::size_t>(outputs.images()));
  for (Index i = 0; i < outputs.images(); ++i) {
    std::vector<Detection> found;
    for (std::size_t level = 0; level < outputs.levels().size(); ++level) {
      const Index places = outputs.levels()[level].size.places();
      detail::add_candidates(outputs.classes(level).rows_of(i * places, places),
                             outputs.boxes(level).rows_of(i * places, places), outputs.levels()[level], image, options,
                             found);
    }
    for (const Index number : non_maximum_suppression(found, options.suppression))
      all[static_cast<std::size_t>(i)].push_back(found[static_cast<std::size_t>(number)]);
  }
  return all;
}

}  // namespace moevit
