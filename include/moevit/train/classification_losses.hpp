/// Cross-entropy of classifiers, by softmax and by sigmoids, with gradients to the logits.
///
/// All are means over rows, computed in double precision, whose sums run in a fixed order. Gradients are assigned and
/// already divided by the number of rows. No rows: the loss is 0. Each throws Error naming the row when a logit is not
/// finite, and when shapes differ or a label is none of the classes.
#pragma once

#include <moevit/core/finite.hpp>
#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

namespace detail {

/// Throws Error unless there is one label per row, each in [0, classes).
inline void check_labels(std::string_view what, std::span<const std::int32_t> labels, Index rows, Index classes) {
  if (std::ssize(labels) != rows) fail(what, ": expected ", rows, " labels, found ", labels.size());
  for (std::size_t row = 0; row < labels.size(); ++row)
    if (labels[row] < 0 || labels[row] >= classes)
      fail(what, ": row ", row, ": expected a label from 0 to ", classes - 1, ", found ", labels[row]);
}

/// probabilities = softmax(factor * logits) of one row; returns log(sum(exp(factor * logits))).
inline double softmax_in_double(const float* logits, double factor, std::span<double> probabilities) {
  const double top = factor * static_cast<double>(*std::max_element(logits, logits + probabilities.size()));
  double sum = 0;
  for (std::size_t i = 0; i < probabilities.size(); ++i)
    sum += probabilities[i] = std::exp(factor * static_cast<double>(logits[i]) - top);
  for (double& probability : probabilities) probability /= sum;
  return top + std::log(sum);
}

/// What becomes of a gradient: weight * gradient is assigned, or added.
struct GradientOut {
  const MatrixView* matrix = nullptr;  ///< null: nobody asks
  double weight = 1;
  bool is_sum = false;

  void put(Index row, Index col, double value) const {
    float& place = (*matrix)(row, col);
    place = static_cast<float>((is_sum ? static_cast<double>(place) : 0.) + weight * value);
  }
};

/// Softmax cross-entropy with targets target(row, class) of any sum.
template <class Target>
double softmax_cross_entropy_of(ConstMatrixView logits, Target target, const GradientOut& out) {
  require_finite("softmax cross-entropy", logits);
  if (out.matrix) require_same_shape("gradient of the softmax cross-entropy", logits, *out.matrix);
  if (logits.rows() > 0 && logits.cols() == 0) fail("softmax cross-entropy: expected at least 1 class, found 0");
  const auto classes = static_cast<std::size_t>(logits.cols());
  std::vector<double> probabilities(classes), targets(classes);
  const double share = logits.rows() ? 1. / static_cast<double>(logits.rows()) : 0.;
  double loss = 0;
  for (Index row = 0; row < logits.rows(); ++row) {
    const double log_sum = softmax_in_double(logits.row_data(row), 1., probabilities);
    double mass = 0, row_loss = 0;
    for (std::size_t i = 0; i < classes; ++i) {
      mass += targets[i] = target(row, static_cast<Index>(i));
      row_loss += targets[i] * (log_sum - static_cast<double>(logits.row_data(row)[i]));
    }
    loss += row_loss;
    for (std::size_t i = 0; out.matrix && i < classes; ++i)
      out.put(row, static_cast<Index>(i), share * (mass * probabilities[i] - targets[i]));
  }
  return loss * share;
}

inline double softmax_loss_of_labels(ConstMatrixView logits, std::span<const std::int32_t> labels, double smoothing,
                                     const GradientOut& out) {
  check_labels("softmax cross-entropy", labels, logits.rows(), logits.cols());
  if (!(smoothing >= 0 && smoothing <= 1)) fail("label smoothing: expected 0 to 1, found ", smoothing);
  const double off = smoothing / static_cast<double>(logits.cols()), on = 1. - smoothing + off;
  const auto target = [&](Index row, Index col) { return labels[static_cast<std::size_t>(row)] == col ? on : off; };
  return softmax_cross_entropy_of(logits, target, out);
}

inline double softmax_loss_of_targets(ConstMatrixView logits, ConstMatrixView targets, const GradientOut& out) {
  require_same_shape("targets of the softmax cross-entropy", logits, targets);
  const auto target = [&](Index row, Index col) { return static_cast<double>(targets.row_data(row)[col]); };
  return softmax_cross_entropy_of(logits, target, out);
}

}  // namespace detail

/// Mean softmax cross-entropy of logits (rows x classes) and labels. With smoothing s the target of a row is
/// (1 - s) one-hot + s / classes (Szegedy et al. 2016).
inline double softmax_cross_entropy(ConstMatrixView logits, std::span<const std::int32_t> labels,
                                    double smoothing = 0) {
  return detail::softmax_loss_of_labels(logits, labels, smoothing, {});
}
/// The same; d_logits = its gradient.
inline double softmax_cross_entropy(ConstMatrixView logits, std::span<const std::int32_t> labels, MatrixView d_logits,
                                    double smoothing = 0) {
  return detail::softmax_loss_of_labels(logits, labels, smoothing, {.matrix = &d_logits});
}
/// The same with soft targets, rows x classes, which may be mixtures or sums over super-classes.
inline double softmax_cross_entropy(ConstMatrixView logits, ConstMatrixView targets) {
  return detail::softmax_loss_of_targets(logits, targets, {});
}
inline double softmax_cross_entropy(ConstMatrixView logits, ConstMatrixView targets, MatrixView d_logits) {
  return detail::softmax_loss_of_targets(logits, targets, {.matrix = &d_logits});
}

/// The loss of a router against super-classes (Mobile V-MoEs, Daxberger et al. 2023): returns the mean softmax
/// cross-entropy and adds weight * gradient to d_logits, where gradients of other losses may already be.
inline double add_router_cross_entropy(ConstMatrixView logits, std::span<const std::int32_t> super_classes,
                                       double weight, MatrixView d_logits) {
  return detail::softmax_loss_of_labels(logits, super_classes, 0,
                                        {.matrix = &d_logits, .weight = weight, .is_sum = true});
}
inline double add_router_cross_entropy(ConstMatrixView logits, ConstMatrixView targets, double weight,
                                       MatrixView d_logits) {
  return detail::softmax_loss_of_targets(logits, targets, {.matrix = &d_logits, .weight = weight, .is_sum = true});
}

namespace detail {

/// The sigmoid of a logit and of its negative, and their logarithms, without cancellation or overflow.
struct Logistic {
  double p, q;  ///< 1 / (1 + e^-x) and 1 - p
  double minus_log_p, minus_log_q;
};
inline Logistic logistic(double x) {
  const double small = std::exp(-std::abs(x)), rest = std::log1p(small);  // log(1 + e^x) = max(x, 0) + rest
  return {(x >= 0 ? 1. : small) / (1. + small), (x >= 0 ? small : 1.) / (1. + small), std::max(-x, 0.) + rest,
          std::max(x, 0.) + rest};
}

}  // namespace detail

/// What the sigmoid cross-entropy of a row is: the sum over its classes, as V-MoE's training has it, or their mean.
enum class OverClasses : unsigned char { sum, mean };

/// Options of sigmoid_cross_entropy.
struct SigmoidOptions {
  OverClasses over_classes = OverClasses::sum;
  std::span<const float> positive_weights = {};  ///< one per class, on the target's part of the loss; empty: 1
  std::span<const float> weights = {};           ///< one per element, row by row; empty: 1
};

namespace detail {

inline double sigmoid_loss(ConstMatrixView logits, ConstMatrixView targets, const SigmoidOptions& options,
                           const GradientOut& out) {
  require_finite("sigmoid cross-entropy", logits);
  require_same_shape("targets of the sigmoid cross-entropy", logits, targets);
  if (out.matrix) require_same_shape("gradient of the sigmoid cross-entropy", logits, *out.matrix);
  const auto positive = options.positive_weights, weights = options.weights;
  if (!weights.empty() && std::ssize(weights) != logits.size())
    fail("sigmoid cross-entropy: expected ", logits.size(), " weights, found ", weights.size());
  if (!positive.empty() && std::ssize(positive) != logits.cols())
    fail("sigmoid cross-entropy: expected ", logits.cols(), " positive weights, found ", positive.size());
  const Index terms = logits.rows() * (options.over_classes == OverClasses::mean ? logits.cols() : 1);
  const double share = terms ? 1. / static_cast<double>(terms) : 0.;
  double loss = 0;
  for (Index row = 0; row < logits.rows(); ++row)
    for (Index col = 0; col < logits.cols(); ++col) {
      const double x = static_cast<double>(logits.row_data(row)[col]);
      const double target = static_cast<double>(targets.row_data(row)[col]);
      const auto i = static_cast<std::size_t>(row * logits.cols() + col);
      const double weight = weights.empty() ? 1. : static_cast<double>(weights[i]);
      const double on = (positive.empty() ? 1. : static_cast<double>(positive[static_cast<std::size_t>(col)])) * target;
      const Logistic s = logistic(x);
      loss += weight * (on * s.minus_log_p + (1. - target) * s.minus_log_q);
      if (out.matrix) out.put(row, col, share * weight * ((1. - target) * s.p - on * s.q));
    }
  return loss * share;
}

}  // namespace detail

/// Sigmoid (binary) cross-entropy of logits and targets, rows x classes, mean over rows.
inline double sigmoid_cross_entropy(ConstMatrixView logits, ConstMatrixView targets,
                                    const SigmoidOptions& options = {}) {
  return detail::sigmoid_loss(logits, targets, options, {});
}
/// The same; d_logits = its gradient.
inline double sigmoid_cross_entropy(ConstMatrixView logits, ConstMatrixView targets, MatrixView d_logits,
                                    const SigmoidOptions& options = {}) {
  return detail::sigmoid_loss(logits, targets, options, {.matrix = &d_logits});
}

}  // namespace moevit
