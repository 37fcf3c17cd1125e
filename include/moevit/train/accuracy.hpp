/// Top-k accuracy.
#pragma once

#include <moevit/core/finite.hpp>
#include <moevit/moe/assign.hpp>
#include <moevit/train/classification_losses.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// The k classes with the largest logits of every row, best first, ties to the lower class: rows x min(k, classes), row
/// by row. logits: rows x classes. Throws Error naming the row when a logit is not finite, and when k is below 1.
inline std::vector<std::int32_t> top_classes(ConstMatrixView logits, Index k) {
  require_finite("top classes", logits);
  if (k < 1) fail("top classes: expected k of at least 1, found ", k);
  k = std::min(k, logits.cols());
  std::vector<std::int32_t> classes;
  classes.reserve(static_cast<std::size_t>(logits.rows() * k));
  for (Index row = 0; row < logits.rows(); ++row)
    detail::visit_largest(logits.row_data(row), logits.cols(), k,
                          [&](Index, Index best, float) { classes.push_back(static_cast<std::int32_t>(best)); });
  return classes;
}

/// How many rows have their label among their k best classes. Throws Error as top_classes, and for labels that are none
/// of the classes.
inline Index count_correct(ConstMatrixView logits, std::span<const std::int32_t> labels, Index k = 1) {
  detail::check_labels("accuracy", labels, logits.rows(), logits.cols());
  const std::vector<std::int32_t> classes = top_classes(logits, k);
  const Index chosen = std::min(k, logits.cols());
  Index correct = 0;
  for (Index row = 0; row < logits.rows(); ++row) {
    const auto first = classes.begin() + row * chosen;
    correct += std::find(first, first + chosen, labels[static_cast<std::size_t>(row)]) != first + chosen;
  }
  return correct;
}

/// The same as a share of the rows; 0 without rows.
inline double top_k_accuracy(ConstMatrixView logits, std::span<const std::int32_t> labels, Index k = 1) {
  const Index correct = count_correct(logits, labels, k);
  return logits.rows() ? static_cast<double>(correct) / static_cast<double>(logits.rows()) : 0.;
}

}  // namespace moevit
