/// Losses of detectors with gradients: the focal loss of classes (Lin et al. 2017) and the generalised IoU loss of
/// boxes (Rezatofighi et al. 2019). Both are computed in double precision, with sums in a fixed order.
#pragma once

#include <moevit/train/classification_losses.hpp>

#include <array>

namespace moevit {

/// Options of focal_loss.
struct FocalOptions {
  double alpha = 0.25;  ///< weight of the class that is there; 1 - alpha of those that are not
  double gamma = 2;     ///< how much easy examples lose of their weight, at least 0
};

namespace detail {

/// The focal loss of one logit whose class is there or not, and its derivative.
struct FocalTerm {
  double loss = 0, slope = 0;
};
inline FocalTerm focal_term(double logit, bool is_there, const FocalOptions& options) {
  const Logistic s = logistic(is_there ? logit : -logit);
  const double easy = std::exp(-options.gamma * s.minus_log_q);  // q^gamma
  const double weight = (is_there ? options.alpha : 1. - options.alpha) * easy;
  const double slope = -weight * (options.gamma * s.p * s.minus_log_p + s.q);
  return {weight * s.minus_log_p, is_there ? slope : -slope};
}

inline double focal_loss_of(ConstMatrixView logits, std::span<const std::int32_t> labels, const FocalOptions& options,
                            const GradientOut& out) {
  require_finite("focal loss", logits);
  check_labels("focal loss", labels, logits.rows(), logits.cols() + 1);
  if (out.matrix) require_same_shape("gradient of the focal loss", logits, *out.matrix);
  if (!(options.gamma >= 0)) fail("focal loss: expected gamma of at least 0, found ", options.gamma);
  Index positive = 0;
  for (const std::int32_t label : labels) positive += label != logits.cols();
  const double share = 1. / static_cast<double>(std::max<Index>(positive, 1));
  double loss = 0;
  for (Index row = 0; row < logits.rows(); ++row)
    for (Index col = 0; col < logits.cols(); ++col) {
      const FocalTerm term =
          focal_term(static_cast<double>(logits(row, col)), labels[static_cast<std::size_t>(row)] == col, options);
      loss += term.loss;
      if (out.matrix) out.put(row, col, share * term.slope);
    }
  return loss * share;
}

/// The generalised IoU loss of one box and its gradient.
struct GiouTerm {
  double loss = 0;
  std::array<double, 4> slope{};
};
inline GiouTerm giou_term(const float* box, const float* target) {
  constexpr double epsilon = 1e-7;
  std::array<double, 4> b{}, t{};
  std::copy_n(box, 4, b.begin()), std::copy_n(target, 4, t.begin());
  const double own = (b[2] - b[0]) * (b[3] - b[1]), other = (t[2] - t[0]) * (t[3] - t[1]);
  double overlap = 1, around = 1;          // areas
  std::array<double, 2> inner{}, outer{};  // sides
  for (std::size_t axis = 0; axis < 2; ++axis) {
    inner[axis] = std::max(std::min(b[axis + 2], t[axis + 2]) - std::max(b[axis], t[axis]), 0.);
    outer[axis] = std::max(b[axis + 2], t[axis + 2]) - std::min(b[axis], t[axis]);
    overlap *= inner[axis], around *= outer[axis];
  }
  const double together = own + other - overlap, below = together + epsilon, frame = around + epsilon;
  GiouTerm term{1. - overlap / below + (around - together) / frame, {}};
  // Derivatives of the loss by the three areas that the box changes; `together` is made of two of them.
  const double d_together = overlap / (below * below) - 1. / frame;
  const double d_overlap = -1. / below - d_together, d_own = d_together;
  const double d_around = (frame - (around - together)) / (frame * frame);
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::size_t low = axis, high = axis + 2, across = 1 - axis;
    const double side = b[across + 2] - b[across];
    const bool overlaps = inner[0] > 0 && inner[1] > 0;
    term.slope[low] = -d_own * side - (overlaps && b[low] > t[low] ? d_overlap * inner[across] : 0.) -
                      (b[low] < t[low] ? d_around * outer[across] : 0.);
    term.slope[high] = d_own * side + (overlaps && b[high] < t[high] ? d_overlap * inner[across] : 0.) +
                       (b[high] > t[high] ? d_around * outer[across] : 0.);
  }
  return term;
}

}  // namespace detail

/// Sum over all logits (places x classes) of -weight (1 - p)^gamma log p, where p is the sigmoid's probability of what
/// is the case and weight alpha or 1 - alpha, divided by the number of places with an object, at least 1. Labels from 0
/// to the number of classes, which is background. Throws Error naming the row when a logit is not finite or a label is
/// something else, and when sizes do not fit.
inline double focal_loss(ConstMatrixView logits, std::span<const std::int32_t> labels,
                         const FocalOptions& options = {}) {
  return detail::focal_loss_of(logits, labels, options, {});
}
/// The same; d_logits = its gradient.
inline double focal_loss(ConstMatrixView logits, std::span<const std::int32_t> labels, MatrixView d_logits,
                         const FocalOptions& options = {}) {
  return detail::focal_loss_of(logits, labels, options, {.matrix = &d_logits});
}

/// Sum of weight (1 - GIoU) over boxes and their targets, rows of left, top, right, bottom; 1e-7 is added to both areas
/// that are divided by. weights: one per row; empty: 1. d_boxes = the gradient; where an edge lies on the target's, the
/// one-sided one that is 0. Throws Error naming the row when a number is not finite, and when shapes differ.
inline double giou_loss(ConstMatrixView boxes, ConstMatrixView targets, std::span<const float> weights,
                        MatrixView d_boxes) {
  require_finite("boxes of the GIoU loss", boxes);
  require_finite("targets of the GIoU loss", targets);
  require_same_shape("targets of the GIoU loss", boxes, targets);
  require_same_shape("gradient of the GIoU loss", boxes, d_boxes);
  if (boxes.cols() != 4) fail("GIoU loss: expected 4 numbers per box, found ", boxes.cols());
  if (!weights.empty() && std::ssize(weights) != boxes.rows())
    fail("GIoU loss: expected ", boxes.rows(), " weights, found ", weights.size());
  double loss = 0;
  for (Index row = 0; row < boxes.rows(); ++row) {
    const double weight = weights.empty() ? 1. : static_cast<double>(weights[static_cast<std::size_t>(row)]);
    const detail::GiouTerm term = detail::giou_term(boxes.row_data(row), targets.row_data(row));
    loss += weight * term.loss;
    for (Index i = 0; i < 4; ++i)
      d_boxes(row, i) = static_cast<float>(weight * term.slope[static_cast<std::size_t>(i)]);
  }
  return loss;
}

}  // namespace moevit
