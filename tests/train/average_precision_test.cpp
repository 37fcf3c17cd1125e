#include "errors.hpp"

#include <moevit/train/average_precision.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

TrueBox object(Box box, std::int32_t category = 0) { return {box, category, box.area(), false}; }

}  // namespace

TEST_CASE("average precision by hand") {
  // Two objects; the first detection finds one, the second nothing, the third the other: precision 1 up to recall 1/2,
  // then 2/3, so that 51 levels are 1 and 50 are 2/3.
  std::vector<ScoredImage> images(2);
  images[0].truth = {object({0, 0, 10, 10})};
  images[1].truth = {object({0, 0, 50, 50})};
  images[0].detections = {{{0, 0, 10, 10}, 0, 0.9}, {{70, 70, 10, 10}, 0, 0.8}};
  images[1].detections = {{{0, 0, 50, 50}, 0, 0.7}};
  const DetectionScores scores(images, 2);
  CHECK(scores.average_precision() == Approx((51 + 50 * 2. / 3) / 101));
  CHECK(scores.average_precision_at(5) == Approx((51 + 50 * 2. / 3) / 101));
  CHECK(scores.average_precision_of(1) == -1.);  // no object
  CHECK(scores.average_recall() == 1.);
  CHECK(scores.average_precision(ObjectSize::small) == Approx(1.));
  CHECK(scores.average_precision(ObjectSize::medium) == Approx(1.));  // small detections do not count there
  CHECK(scores.average_precision(ObjectSize::large) == -1.);
}

TEST_CASE("an object is found once, by the best detection, from the threshold on") {
  std::vector<ScoredImage> images(1);
  images[0].truth = {object({0, 0, 100, 100})};
  images[0].detections = {{{0, 0, 100, 80}, 0, 0.9}, {{0, 0, 100, 100}, 0, 0.8}};
  const DetectionScores scores(images, 1);
  CHECK(scores.average_precision_at(6) == Approx(1.));      // IoU 0.8 of the first reaches 0.8; the second is too much
  CHECK(scores.average_precision_at(7) == Approx(1. / 2));  // 0.85: the first is wrong, the second right
  CHECK(scores.average_recall(0) == Approx(7. / 10));       // one detection per image
}

TEST_CASE("crowds take detections away and are not looked for") {
  std::vector<ScoredImage> images(1);
  images[0].truth = {object({0, 0, 40, 40}), {{100, 0, 100, 100}, 0, 1e4, true}};
  images[0].detections = {{{110, 10, 20, 20}, 0, 0.9}, {{150, 10, 20, 20}, 0, 0.8}, {{0, 0, 40, 40}, 0, 0.7}};
  CHECK(DetectionScores(images, 1).average_precision() == Approx(1.));
}

TEST_CASE("scores of nothing") {
  CHECK(DetectionScores({}, 3).average_precision() == -1.);
  std::vector<ScoredImage> images(2);
  images[0].detections = {{{0, 0, 1, 1}, 0, 0.5}};  // no object anywhere
  CHECK(DetectionScores(images, 1).average_recall() == -1.);
  images[1].truth = {object({0, 0, 5, 5})};  // never found
  CHECK(DetectionScores(images, 1).average_precision() == 0.);
  CHECK(DetectionScores(images, 1).average_recall() == 0.);
}

TEST_CASE("detection scores name what they cannot use") {
  std::vector<ScoredImage> images(2);
  images[1].detections = {{{0, 0, 1, 1}, 0, 0.5}, {{0, 0, 1, 1}, 2, 0.5}};
  CHECK(contains(error_of([&] { DetectionScores(images, 2); }),
                 "image 1, detection 1: expected a category from 0 to 1, found 2"));
  images[1].detections = {{{0, 0, -1, 1}, 0, 0.5}};
  CHECK(contains(error_of([&] { DetectionScores(images, 2); }), "image 1, detection 0: expected finite numbers"));
  images[1].detections = {{{0, 0, 1, 1}, 0, NAN}};
  CHECK(contains(error_of([&] { DetectionScores(images, 2); }), "image 1, detection 0: expected finite numbers"));
  images[1].detections.clear();
  images[0].truth = {{{0, NAN, 1, 1}, 0, 1, false}};
  CHECK(contains(error_of([&] { DetectionScores(images, 2); }), "image 0, true box 0: expected finite numbers"));
}
