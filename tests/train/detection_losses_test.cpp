#include "errors.hpp"
#include "gradient_check.hpp"

#include <moevit/train/detection_losses.hpp>

using namespace moevit;
using namespace moevit::test;

namespace {

double plain_focal(std::span<const float> logits, Index classes, std::span<const std::int32_t> labels, double alpha,
                   double gamma) {
  double loss = 0, positive = 0;
  for (std::size_t row = 0; row < labels.size(); ++row) {
    positive += labels[row] != classes;
    for (Index col = 0; col < classes; ++col) {
      const double p =
          1 / (1 + std::exp(-double{logits[row * static_cast<std::size_t>(classes) + static_cast<std::size_t>(col)]}));
      loss -= labels[row] == col ? alpha * std::pow(1 - p, gamma) * std::log(p)
                                 : (1 - alpha) * std::pow(p, gamma) * std::log(1 - p);
    }
  }
  return loss / std::max(positive, 1.);
}

}  // namespace

TEST_CASE("the focal loss is its formula, and its gradient the slope") {
  constexpr Index rows = 7, classes = 3;
  const std::vector<std::int32_t> labels{0, 3, 2, 3, 1, 3, 3};
  for (const double gamma : {0., 0.5, 2.}) {
    const FocalOptions options{.alpha = 0.3, .gamma = gamma};
    GradientCheck check{.name = "gamma " + std::to_string(gamma),
                        .values = normal_values(rows * classes, 3),
                        .gradient = std::vector<float>(rows * classes),
                        .function = {}};
    check.function = [&](std::span<const float> values) {
      return focal_loss({values.data(), rows, classes}, labels, options);
    };
    CHECK(focal_loss({check.values.data(), rows, classes}, labels, {check.gradient.data(), rows, classes}, options) ==
          Approx(plain_focal(check.values, classes, labels, 0.3, gamma)));
    CHECK(check_gradient(check, 5));
  }
  // Gamma 0 and alpha 1/2: half the sigmoid cross-entropy. Far logits stay finite.
  const std::vector<float> far{200.f, -200.f};
  std::vector<float> gradient(2);
  const std::vector<std::int32_t> label{1};
  CHECK(focal_loss({far.data(), 1, 2}, label, {gradient.data(), 1, 2}, {.alpha = 0.5, .gamma = 0}) == Approx(200.));
  CHECK(gradient == std::vector<float>{0.5f, -0.5f});
  // Background alone: divided by 1.
  const std::vector<float> zero{0.f};
  CHECK(focal_loss({zero.data(), 1, 1}, label) == Approx(0.75 * 0.25 * std::log(2.)));
  CHECK(focal_loss({nullptr, 0, 3}, {}) == 0.);
}

TEST_CASE("the focal loss names what it cannot use") {
  std::vector<float> logits(4, 0.f);
  const ConstMatrixView view(logits.data(), 2, 2);
  CHECK(contains(error_of([&] { focal_loss(view, std::vector<std::int32_t>{0}); }),
                 "focal loss: expected 2 labels, found 1"));
  CHECK(contains(error_of([&] {
                   focal_loss(view, std::vector<std::int32_t>{0, 3});
                 }),
                 "focal loss: row 1: expected a label from 0 to 2, found 3"));
  CHECK(contains(error_of([&] {
                   focal_loss(view, std::vector<std::int32_t>{0, 2}, {.gamma = -1});
                 }),
                 "expected gamma of at least 0, found -1"));
  logits[3] = INFINITY;
  CHECK(contains(error_of([&] { focal_loss(view, std::vector<std::int32_t>{0, 2}); }), "focal loss"));
  CHECK(contains(error_of([&] { focal_loss(view, std::vector<std::int32_t>{0, 2}); }), "row 1"));
}

TEST_CASE("the GIoU loss by hand, and its gradient") {
  // Overlapping by 1 of 2 + 4 - 1; apart; one inside the other; touching.
  const std::vector<float> boxes{0, 0, 2, 1, 0, 0, 1, 1, 1, 1, 2, 2, 0, 0, 1, 1};
  const std::vector<float> targets{1, 0, 3, 2, 2, 0, 3, 1, 0, 0, 4, 4, 1, 0, 2, 1};
  const auto loss_of = [&](std::span<const float> values, Index row) {
    std::vector<float> slope(4);
    return giou_loss(ConstMatrixView(values.data(), 4, 4).rows_of(row, 1),
                     ConstMatrixView(targets.data(), 4, 4).rows_of(row, 1), {}, {slope.data(), 1, 4});
  };
  CHECK(loss_of(boxes, 0) == Approx(1 - 1. / 5 + (6. - 5) / 6));
  CHECK(loss_of(boxes, 1) == Approx(1 + (3. - 2) / 3));
  CHECK(loss_of(boxes, 2) == Approx(1 - 1. / 16));
  CHECK(loss_of(boxes, 3) == Approx(1.));

  GradientCheck check{
      .name = "GIoU",
      .values = {0.1f, 0.2f, 2.3f, 1.4f, -0.1f, 0.2f, 1.1f, 1.2f, 0.9f, 1.1f, 2.2f, 2.1f, -0.3f, 0.1f, 1.6f, 1.3f},
      .gradient = std::vector<float>(16),
      .function = {}};
  const std::vector<float> weights{1.f, 0.5f, 2.f, 0.25f};
  check.function = [&](std::span<const float> values) {
    std::vector<float> slope(16);
    return giou_loss({values.data(), 4, 4}, {targets.data(), 4, 4}, weights, {slope.data(), 4, 4});
  };
  giou_loss({check.values.data(), 4, 4}, {targets.data(), 4, 4}, weights, {check.gradient.data(), 4, 4});
  CHECK(check_gradient(check, 1));

  // A box that is its target, and two boxes without area in one place.
  std::vector<float> slope(4, 9.f);
  CHECK(giou_loss({targets.data(), 1, 4}, {targets.data(), 1, 4}, {}, {slope.data(), 1, 4}) == Approx(0.).margin(1e-6));
  const std::vector<float> point{3, 3, 3, 3};
  CHECK(giou_loss({point.data(), 1, 4}, {point.data(), 1, 4}, {}, {slope.data(), 1, 4}) == Approx(1.));
  for (const float value : slope) CHECK(std::isfinite(value));
}

TEST_CASE("the GIoU loss names what it cannot use") {
  std::vector<float> boxes(8, 0.f), slope(8);
  const ConstMatrixView view(boxes.data(), 2, 4);
  CHECK(contains(error_of([&] {
                   giou_loss(view, view.rows_of(0, 1), {}, {slope.data(), 2, 4});
                 }),
                 "targets of the GIoU loss"));
  CHECK(contains(error_of([&] {
                   giou_loss(view, view, std::span(boxes).first(3), {slope.data(), 2, 4});
                 }),
                 "expected 2 weights, found 3"));
  CHECK(contains(error_of([&] {
                   giou_loss({boxes.data(), 4, 2}, {boxes.data(), 4, 2}, {}, {slope.data(), 4, 2});
                 }),
                 "expected 4 numbers per box, found 2"));
  boxes[6] = NAN;
  CHECK(contains(error_of([&] { giou_loss(view, view, {}, {slope.data(), 2, 4}); }), "boxes of the GIoU loss"));
  CHECK(contains(error_of([&] { giou_loss(view, view, {}, {slope.data(), 2, 4}); }), "row 1"));
}
