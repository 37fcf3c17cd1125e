// Targets of FCOS as plain rules, its loss with gradients, and decoding as its counterpart.
#include "catch.hpp"
#include "errors.hpp"
#include "gradient_check.hpp"

#include <moevit/models/fcos_decoding.hpp>
#include <moevit/train/fcos_loss.hpp>

#include <limits>
#include <random>

using namespace moevit;
using namespace moevit::test;

namespace {

constexpr Index classes = 3;
constexpr std::array<FcosLevel, 3> levels{FcosLevel{{8, 10}, 8}, FcosLevel{{4, 5}, 16}, FcosLevel{{2, 3}, 32}};
constexpr MapSize image{64, 80};

TrueBox object(double x, double y, double width, double height, std::int32_t category) {
  return {{x, y, width, height}, category, width * height};
}

FcosTargets assigned(const std::vector<std::vector<TrueBox>>& objects, const FcosAssignment& options = {}) {
  FcosTargets targets;
  assign_fcos(objects, levels, classes, options, targets);
  return targets;
}

/// Row of a place in targets of `images` images.
std::size_t row_of(Index images, std::size_t level, Index number, Index row, Index column) {
  Index first = 0;
  for (std::size_t i = 0; i < level; ++i) first += images * levels[i].size.places();
  return static_cast<std::size_t>(first + number * levels[level].size.places() + row * levels[level].size.width +
                                  column);
}

std::vector<std::vector<TrueBox>> random_objects(Index images, Index most, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> place(0, 50), side(3, 40);
  std::vector<std::vector<TrueBox>> all(static_cast<std::size_t>(images));
  for (auto& list : all)
    for (Index i = 0; i < most; ++i)
      list.push_back(
          object(place(engine), place(engine), side(engine), side(engine), static_cast<std::int32_t>(i % 3)));
  return all;
}

}  // namespace

TEST_CASE("places learn the object around whose middle they lie, of their level's size, the smallest of several") {
  // A box of 20 x 20 pixels: its farthest side is at most 20 away, which is level 0; its middle is (30, 30).
  FcosTargets targets = assigned({{object(20, 20, 20, 20, 2)}});
  CHECK(targets.labels[row_of(1, 0, 0, 3, 3)] == 2);  // place (28, 28)
  CHECK(targets.sides[row_of(1, 0, 0, 3, 3)] == std::array{8.f, 8.f, 12.f, 12.f});
  CHECK(targets.labels[row_of(1, 0, 0, 2, 3)] == classes);  // (28, 20) is on the side: not inside
  CHECK(targets.positives(classes) == std::count(targets.labels.begin(), targets.labels.end(), 2));
}

TEST_CASE("targets agree with the rules of the paper, place by place") {
  for (const double radius : {0.5, 1.5, 100.}) {
    const auto objects = random_objects(2, 12, 4);
    const FcosTargets targets = assigned(objects, {.radius = radius});
    Index positive = 0;
    for (std::size_t level = 0; level < levels.size(); ++level)
      for (Index number = 0; number < 2; ++number)
        for (Index row = 0; row < levels[level].size.height; ++row)
          for (Index column = 0; column < levels[level].size.width; ++column) {
            const auto stride = static_cast<double>(levels[level].stride);
            const double x = (static_cast<double>(column) + .5) * stride, y = (static_cast<double>(row) + .5) * stride;
            const TrueBox* best = nullptr;
            for (const TrueBox& one : objects[static_cast<std::size_t>(number)]) {
              const Box& box = one.box;
              const double l = x - box.x, t = y - box.y, r = box.right() - x, b = box.bottom() - y;
              const double far = std::max({l, t, r, b}), middle_x = box.x + box.width / 2,
                           middle_y = box.y + box.height / 2;
              const bool in_box = l > 0 && t > 0 && r > 0 && b > 0;
              const bool near = std::abs(x - middle_x) < radius * stride && std::abs(y - middle_y) < radius * stride;
              const bool of_level = level == 0 ? far <= 64 : level == 1 ? far > 64 && far <= 128 : far > 128;
              if (in_box && near && of_level && (!best || box.area() < best->box.area())) best = &one;
            }
            const std::size_t at = row_of(2, level, number, row, column);
            CHECK(targets.labels[at] == (best ? best->category : classes));
            positive += best != nullptr;
            if (best) {
              CHECK(double{targets.sides[at][0]} == Approx(x - best->box.x));
              CHECK(double{targets.sides[at][3]} == Approx(best->box.bottom() - y));
              CHECK(centreness(targets.sides[at]) > 0);
              CHECK(centreness(targets.sides[at]) <= 1);
            }
          }
    CHECK(targets.positives(classes) == positive);
    CHECK(positive > 0);
  }
  CHECK(assigned({{}, {}}).positives(classes) == 0);
  TrueBox crowd = object(20, 20, 20, 20, 2);
  crowd.is_crowd = true;
  CHECK(assigned({{crowd}}).positives(classes) == 0);
  CHECK(assigned({{object(2, 2, 300, 300, 1)}}, {.radius = 100}).positives(classes) == 6);  // the last level only
  CHECK(contains(error_of([] { assigned({{object(1, 1, 5, 5, 3)}}); }), "object 0: expected a category from 0 to 2"));
  CHECK(contains(error_of([] { assigned({{object(std::nan(""), 1, 5, 5, 0)}}); }), "not finite"));
}

TEST_CASE("the loss of FCOS and its gradient") {
  const Index images = 2, rows = images * places_of(levels);
  for (const Index count : {0, 1, 25}) {
    CAPTURE(count);
    const FcosTargets targets = assigned(random_objects(images, count, 5));
    std::vector<float> values = normal_values(rows * (classes + 5), 3, 0.f, 1.f);
    for (Index row = 0; row < rows; ++row)
      for (Index side = 0; side < 4; ++side) {
        float& value = values[static_cast<std::size_t>(rows * classes + row * 5 + side)];
        value = 4.f + 9.f * std::abs(value);
      }
    std::vector<float> gradient(values.size(), 77.f);
    const auto losses = [&](std::span<const float> own, std::span<float> d) {
      return fcos_loss({own, images, classes, levels}, targets, {.box_weight = 0.7}, {d, images, classes, levels});
    };
    const FcosLosses found = losses(values, gradient);
    CHECK(found.classes > 0);
    if (count == 0) {
      CHECK(found.boxes == 0);
      CHECK(found.centre == 0);
    } else {
      CHECK(found.boxes > 0);
      CHECK(found.centre > 0);
    }
    std::vector<float> room(values.size());
    check_gradient({"outputs", values, gradient, [&](std::span<const float> own) { return losses(own, room).total(); },
                    [] { return true; }, 1e-2, 5e-3},
                   3);
    values[7] = std::numeric_limits<float>::quiet_NaN();
    CHECK(contains(error_of([&] { losses(values, room); }), "focal loss"));
  }
}

TEST_CASE("what is predicted as the targets say is decoded to the objects") {
  const std::vector<std::vector<TrueBox>> objects{
      {object(20, 20, 20, 20, 2), object(4, 42, 18, 14, 1), object(50, 3, 25, 30, 2)},
      {},
      {object(-10, 30, 45, 60, 0)}};
  const FcosTargets targets = assigned(objects);
  const Index images = 3, rows = images * places_of(levels);
  std::vector<float> values(static_cast<std::size_t>(rows * (classes + 5)), -12.f);
  const FcosOutputs<float> outputs(std::span<float>(values), images, classes, levels);
  for (Index row = 0; row < rows; ++row) {
    const auto at = static_cast<std::size_t>(row);
    for (Index side = 0; side < 4; ++side)
      outputs.boxes()(row, side) = targets.sides[at][static_cast<std::size_t>(side)];
    if (targets.labels[at] == classes) continue;
    outputs.classes()(row, targets.labels[at]) = 6.f;
    const double centre = std::min(centreness(targets.sides[at]), 0.999);
    outputs.boxes()(row, 4) = static_cast<float>(std::log(centre / (1 - centre)));
  }
  const FcosOutputs<const float> seen(std::span<const float>(values), images, classes, levels);
  const auto found = decode_fcos(seen, image, {.least_score = 0.1});
  REQUIRE(found.size() == 3);
  CHECK(found[0].size() == 3);
  CHECK(found[1].empty());
  REQUIRE(found[2].size() == 1);
  CHECK(found[2][0].box.x == 0);  // cut
  CHECK(found[2][0].box.bottom() == Approx(64));
  for (const Detection& detection : found[0]) {
    CHECK(detection.score <= 1);
    double best = 0;
    for (const TrueBox& one : objects[0])
      if (one.category == detection.category) best = std::max(best, iou(one.box, detection.box));
    CHECK(best > 0.99);
  }
  CHECK(
      std::is_sorted(found[0].begin(), found[0].end(), [](const auto& a, const auto& b) { return a.score > b.score; }));
  CHECK(decode_fcos(seen, image, {.least_score = 0.1, .candidates = 1})[0].size() <= 3);
  CHECK(decode_fcos(seen, image, {.suppression = {.iou = 1, .most = 2}})[0].size() == 2);
  values[5] = std::numeric_limits<float>::infinity();
  CHECK(contains(error_of([&] { decode_fcos(seen, image); }), "class logits of the detector"));
  CHECK(contains(error_of([&] { decode_fcos(seen, image, {.candidates = 0}); }), "at least 1 candidate"));
  CHECK(contains(error_of([&] { FcosOutputs<float>(std::span<float>(values).first(9), images, classes, levels); }),
                 "FCOS outputs: expected"));
}

TEST_CASE("crowded images are decoded within the limits") {
  const Index images = 1, rows = places_of(levels);
  std::vector<float> values(static_cast<std::size_t>(rows * (classes + 5)), 3.f);
  const auto found = decode_fcos({std::span<const float>(values), images, classes, levels}, image);
  CHECK(found[0].size() == 100);
  const auto few = decode_fcos({std::span<const float>(values), images, classes, levels}, image, {.candidates = 2});
  CHECK(few[0].size() == 6);
}
