#include "errors.hpp"
#include "gradient_check.hpp"

#include <moevit/train/mean_iou.hpp>
#include <moevit/train/segmentation_losses.hpp>

using namespace moevit;
using namespace moevit::test;

TEST_CASE("pixel cross-entropy and Dice by hand") {
  // Probabilities 1/4, 3/4 and 1/2, 1/2; the third pixel is ignored.
  const std::vector<float> logits{0.f, std::log(3.f), 0.f, 0.f, 5.f, -5.f};
  const std::vector<std::int32_t> labels{1, 0, 255};
  const ConstMatrixView view(logits.data(), 3, 2);
  CHECK(segmentation_loss(view, labels) == Approx((std::log(4. / 3) + std::log(2.)) / 2));
  const std::vector<float> weights{3.f, 1.f};
  CHECK(segmentation_loss(view, labels, {.class_weights = weights}) ==
        Approx((std::log(4. / 3) + 3 * std::log(2.)) / 4));
  const std::vector<double> dice = dice_losses(view, labels, {.smooth = 0});
  REQUIRE(dice.size() == 2);
  CHECK(dice[0] == Approx(1 - 2 * 0.5 / (0.75 + 1)));
  CHECK(dice[1] == Approx(1 - 2 * 0.75 / (1.25 + 1)));
  CHECK(segmentation_loss(view, labels, {.cross_entropy = 0.5, .dice = 2, .smooth = 0}) ==
        Approx(0.5 * segmentation_loss(view, labels) + dice[0] + dice[1]));
}

TEST_CASE("gradients of segmentation losses are their slopes") {
  constexpr Index pixels = 12, classes = 3;
  std::vector<std::int32_t> labels;
  for (int pixel = 0; pixel < pixels; ++pixel) labels.push_back(pixel % 5 == 4 ? 255 : pixel % 2);  // class 2 is absent
  const std::vector<float> weights{0.5f, 2.f, 1.f};
  const std::vector<SegmentationLossOptions> all{{.class_weights = weights},
                                                 {.cross_entropy = 0, .dice = 1},
                                                 {.cross_entropy = 0, .dice = 1, .smooth = 0.5, .squared = true},
                                                 {.cross_entropy = 0, .dice = 1, .images = 3},
                                                 {.cross_entropy = 0.3, .dice = 2, .squared = true, .images = 2}};
  unsigned seed = 1;
  for (const SegmentationLossOptions& options : all) {
    GradientCheck check{.name = "options " + std::to_string(seed),
                        .values = normal_values(pixels * classes, seed),
                        .gradient = std::vector<float>(pixels * classes),
                        .function = {}};
    check.function = [&](std::span<const float> values) {
      return segmentation_loss({values.data(), pixels, classes}, labels, options);
    };
    const double loss = segmentation_loss({check.values.data(), pixels, classes}, labels,
                                          {check.gradient.data(), pixels, classes}, options);
    CHECK(loss == check.function(check.values));
    for (Index pixel = 4; pixel < pixels; pixel += 5)
      for (Index i = 0; i < classes; ++i) CHECK(check.gradient[static_cast<std::size_t>(pixel * classes + i)] == 0.f);
    CHECK(check_gradient(check, ++seed));
  }
}

TEST_CASE("segmentation losses without a pixel that counts") {
  const std::vector<float> logits{1.f, 2.f};
  const std::vector<std::int32_t> labels{255};
  std::vector<float> gradient(2, 9.f);
  for (const double dice : {0., 1.}) {
    CHECK(segmentation_loss({logits.data(), 1, 2}, labels, {gradient.data(), 1, 2}, {.dice = dice}) == 0.);
    CHECK(gradient == std::vector<float>(2, 0.f));
  }
  CHECK(segmentation_loss({nullptr, 0, 2}, {}, {.dice = 1}) == 0.);
}

TEST_CASE("segmentation losses name what they cannot use") {
  std::vector<float> logits(8, 0.f);
  const ConstMatrixView view(logits.data(), 4, 2);
  const std::vector<std::int32_t> labels{0, 1, 0, 1};
  CHECK(contains(error_of([&] { segmentation_loss(view, std::span(labels).first(3)); }),
                 "segmentation loss: expected 4 labels, found 3"));
  CHECK(contains(error_of([&] {
                   segmentation_loss(view, std::vector<std::int32_t>{0, 1, 2, 1});
                 }),
                 "pixel 2: expected a label from 0 to 1 or 255, which is ignored, found 2"));
  CHECK(contains(error_of([&] { segmentation_loss(view, labels, {.images = 3}); }),
                 "expected pixels of 3 images of equal size, found 4"));
  CHECK(contains(error_of([&] { segmentation_loss(view, labels, {.class_weights = logits}); }),
                 "expected 2 class weights, found 8"));
  std::vector<float> gradient(6);
  CHECK(contains(error_of([&] {
                   segmentation_loss(view, labels, {gradient.data(), 3, 2});
                 }),
                 "gradient of the segmentation loss"));
  logits[5] = NAN;
  CHECK(contains(error_of([&] { segmentation_loss(view, labels); }), "segmentation loss"));
  CHECK(contains(error_of([&] { segmentation_loss(view, labels); }), "row 2"));
}

TEST_CASE("mean IoU by hand") {
  PixelConfusion confusion(4);
  CHECK(confusion.mean_iou() == -1.);
  CHECK(confusion.pixel_accuracy() == -1.);
  confusion.add(std::vector<std::int32_t>{0, 0, 0, 1, 255}, std::vector<std::int32_t>{0, 0, 1, 1, 9});
  confusion.add(std::vector<std::int32_t>{1}, std::vector<std::int32_t>{2});
  CHECK(confusion.count(0, 1) == 1);
  CHECK(confusion.iou(0) == Approx(2. / 3));
  CHECK(confusion.iou(1) == Approx(1. / 3));
  CHECK(confusion.iou(2) == 0.);   // only predicted
  CHECK(confusion.iou(3) == -1.);  // neither
  CHECK(confusion.mean_iou() == Approx((2. / 3 + 1. / 3) / 3));
  CHECK(confusion.recall(2) == -1.);
  CHECK(confusion.mean_accuracy() == Approx((2. / 3 + 1. / 2) / 2));
  CHECK(confusion.pixel_accuracy() == Approx(3. / 5));

  const std::vector<std::int64_t> before = confusion.counts();
  const std::vector<std::int32_t> truth{0, 4}, prediction{0, 0}, short_one{0};
  CHECK(contains(error_of([&] { confusion.add(truth, prediction); }),
                 "pixel 1: expected a true class from 0 to 3, found 4"));
  CHECK(contains(error_of([&] { confusion.add(prediction, truth); }),
                 "pixel 1: expected a predicted class from 0 to 3, found 4"));
  CHECK(contains(error_of([&] { confusion.add(truth, short_one); }), "expected a prediction of 2 pixels, found 1"));
  CHECK(confusion.counts() == before);
}
