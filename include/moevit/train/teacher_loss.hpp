/// Teacher-guided routing: a student's router imitates a teacher's.
#pragma once

#include <moevit/core/finite.hpp>
#include <moevit/moe/loss_gradients.hpp>
#include <moevit/train/classification_losses.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// Options of teacher_loss.
struct TeacherLossOptions {
  double temperature = 1;
  /// Which tokens imitate the teacher: not 0 for those that do, one per token; empty: all of them. With none selected
  /// the loss and its gradient are 0.
  std::span<const std::uint8_t> selected = {};
};

namespace detail {

inline void check_teacher_loss(ConstMatrixView student, ConstMatrixView teacher, const TeacherLossOptions& options) {
  require_finite("student's logits", student);
  require_finite("teacher's logits", teacher);
  require_same_shape("teacher's logits", student, teacher);
  if (student.rows() > 0 && student.cols() == 0) fail("teacher loss: expected at least 1 expert, found 0");
  if (!(options.temperature > 0)) fail("teacher loss: expected a temperature above 0, found ", options.temperature);
  if (!options.selected.empty() && std::ssize(options.selected) != student.rows())
    fail("teacher loss: expected a selection of ", student.rows(), " tokens, found ", options.selected.size());
}

inline double teacher_loss_of(ConstMatrixView student, ConstMatrixView teacher, const TeacherLossOptions& options,
                              const GradientOut& out) {
  check_teacher_loss(student, teacher, options);
  if (out.matrix) require_same_shape("gradient of the teacher loss", student, *out.matrix);
  const auto selected = options.selected;
  const auto is_selected = [&](Index token) { return selected.empty() || selected[static_cast<std::size_t>(token)]; };
  Index tokens = 0;
  for (Index token = 0; token < student.rows(); ++token) tokens += is_selected(token);
  const double share = tokens ? 1. / static_cast<double>(tokens) : 0., factor = 1. / options.temperature;
  std::vector<double> p(static_cast<std::size_t>(student.cols())), q = p;
  double loss = 0;
  for (Index token = 0; token < student.rows(); ++token) {
    const float *wanted = teacher.row_data(token), *found = student.row_data(token);
    const double log_p = softmax_in_double(wanted, factor, p), log_q = softmax_in_double(found, factor, q);
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (is_selected(token))
        loss += p[i] * (factor * (static_cast<double>(wanted[i]) - static_cast<double>(found[i])) - log_p + log_q);
      if (out.matrix) out.put(token, static_cast<Index>(i), is_selected(token) ? share * factor * (q[i] - p[i]) : 0.);
    }
  }
  return loss * share;
}

}  // namespace detail

/// Mean over the selected tokens of KL(softmax(teacher / T) || softmax(student / T)), not multiplied by T^2; logits are
/// tokens x experts. Throws Error naming the token when a logit is not finite, and when shapes differ.
/// Source: teacher-guided routing (Kada et al. 2026), whose best results imitate in the first half of training only.
inline double teacher_loss(ConstMatrixView student, ConstMatrixView teacher, const TeacherLossOptions& options = {}) {
  return detail::teacher_loss_of(student, teacher, options, {});
}
/// The same; d_student = its gradient to the student's logits. The teacher gets none.
inline double teacher_loss(ConstMatrixView student, ConstMatrixView teacher, MatrixView d_student,
                           const TeacherLossOptions& options = {}) {
  return detail::teacher_loss_of(student, teacher, options, {.matrix = &d_student});
}
/// The same; adds weight * gradient to d_student, where gradients of other losses may already be.
inline double add_teacher_loss(ConstMatrixView student, ConstMatrixView teacher, double weight, MatrixView d_student,
                               const TeacherLossOptions& options = {}) {
  return detail::teacher_loss_of(student, teacher, options, {.matrix = &d_student, .weight = weight, .is_sum = true});
}

/// What a teacher's router learns by itself: to use all experts, and to be sure. A weight of 0 leaves its loss out.
struct TeacherRouterWeights {
  double balance = 0.005;  ///< of (std / mean)^2 over the experts of the summed gates
  double entropy = 0.005;  ///< of the mean entropy of a token's gates
};

namespace detail {

/// Mean over tokens of the entropy of softmax(logits); adds weight * gradient to d_logits.
inline double add_entropy_gradient(ConstMatrixView logits, double weight, MatrixView d_logits) {
  std::vector<double> gates(static_cast<std::size_t>(logits.cols()));
  const double share = 1. / static_cast<double>(logits.rows());
  double sum = 0;
  for (Index token = 0; token < logits.rows(); ++token) {
    const float* row = logits.row_data(token);
    const double log_sum = softmax_in_double(row, 1., gates);
    double entropy = 0;
    for (std::size_t i = 0; i < gates.size(); ++i) entropy -= gates[i] * (static_cast<double>(row[i]) - log_sum);
    for (std::size_t i = 0; i < gates.size(); ++i)
      add_to(d_logits.row_data(token)[i],
             -weight * share * gates[i] * (static_cast<double>(row[i]) - log_sum + entropy));
    sum += entropy;
  }
  return sum * share;
}

/// (std / mean)^2 over the experts of the summed gates; adds weight * gradient to d_logits.
inline double add_balance_gradient(ConstMatrixView logits, double weight, MatrixView d_logits) {
  std::vector<double> gates(static_cast<std::size_t>(logits.cols())), sums(gates.size(), 0.);
  for (Index token = 0; token < logits.rows(); ++token) {
    softmax_in_double(logits.row_data(token), 1., gates);
    for (std::size_t i = 0; i < gates.size(); ++i) sums[i] += gates[i];
  }
  add_importance_gradient(logits, weight, d_logits);
  return squared_variation(sums);
}

}  // namespace detail

/// The weighted loss of a teacher's router over all tokens; logits are tokens x experts, at least one of each. Adds its
/// gradient to d_logits. Throws Error naming the token when a logit is not finite, and when shapes differ. Source: Kada
/// et al. 2026, which minimises the entropy.
inline double add_teacher_router_loss(ConstMatrixView logits, const TeacherRouterWeights& weights,
                                      MatrixView d_logits) {
  require_finite("teacher's logits", logits);
  require_same_shape("gradient of the teacher router's loss", logits, d_logits);
  if (logits.size() == 0) fail("teacher router's loss: expected at least 1 token and 1 expert, found none");
  double loss = 0;
  if (weights.balance > 0) loss += weights.balance * detail::add_balance_gradient(logits, weights.balance, d_logits);
  if (weights.entropy > 0) loss += weights.entropy * detail::add_entropy_gradient(logits, weights.entropy, d_logits);
  return loss;
}

}  // namespace moevit
