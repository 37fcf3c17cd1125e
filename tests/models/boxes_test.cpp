#include "errors.hpp"

#include <moevit/models/boxes.hpp>

using namespace moevit;
using namespace moevit::test;

TEST_CASE("overlap of boxes") {
  const Box box{0, 0, 4, 2};
  CHECK(iou(box, box) == 1.);
  CHECK(overlap(box, {3, 1, 5, 5}) == 1.);
  CHECK(iou(box, {2, 0, 4, 2}) == Approx(4. / 12));
  CHECK(iou(box, {4, 0, 4, 2}) == 0.);  // they touch
  CHECK(iou(box, {1, 1, 0, 0}) == 0.);
  CHECK(iou({1, 1, 0, 0}, {1, 1, 0, 0}) == 0.);
}

TEST_CASE("non-maximum suppression keeps the best of each thing") {
  const std::vector<Detection> detections{{{0, 0, 10, 10}, 0, 0.5},
                                          {{1, 0, 10, 10}, 0, 0.9},
                                          {{1, 0, 10, 10}, 1, 0.8},
                                          {{20, 0, 10, 10}, 0, 0.5},
                                          {{20, 0, 10, 5}, 0, 0.4}};
  CHECK(non_maximum_suppression(detections) == std::vector<Index>{1, 2, 3, 4});  // IoU 9/11 is above 0.6, 1/2 is not
  CHECK(non_maximum_suppression(detections, {.iou = 0.5}) == std::vector<Index>{1, 2, 3, 4});  // not above 0.5
  CHECK(non_maximum_suppression(detections, {.iou = 0.4}) == std::vector<Index>{1, 2, 3});
  CHECK(non_maximum_suppression(detections, {.most = 2}) == std::vector<Index>{1, 2});
  CHECK(non_maximum_suppression(detections, {.iou = 0.4, .across_categories = true}) == std::vector<Index>{1, 3});
  CHECK(non_maximum_suppression({}).empty());
  const std::vector<Detection> same(3, {{0, 0, 1, 1}, 0, 0.5});
  CHECK(non_maximum_suppression(same) == std::vector<Index>{0});  // ties: as they come
  const std::vector<Detection> broken{{{0, 0, 1, 1}, 0, 0.5}, {{0, 0, 1, 1}, 0, NAN}};
  CHECK(contains(error_of([&] { non_maximum_suppression(broken); }), "detection 1: its score is not a number"));
}
