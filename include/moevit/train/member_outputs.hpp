/// Outputs of the members of an ensemble as one prediction, and the targets that each member learns.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/train/classification_losses.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

namespace moevit {

/// log_means (images x classes) = logarithms of the probabilities softmax(logits), averaged over the members of an
/// ensemble: logits that predict as the ensemble does. logits: (images * members) x classes, the members of an image
/// one after the other. Throws Error when the sizes do not fit. Source: efficient ensembles of experts (Allingham et
/// al. 2022).
inline void mean_of_members(ConstMatrixView logits, Index members, MatrixView log_means) {
  if (members < 1 || logits.rows() != log_means.rows() * members || logits.cols() != log_means.cols())
    fail("mean of members: expected ", log_means.rows(), " x ", members, " rows of ", log_means.cols(),
         " logits, found ", logits.rows(), " of ", logits.cols());
  const auto classes = static_cast<std::size_t>(logits.cols());
  std::vector<double> gates(classes);
  RowMajorMatrix logs(members, logits.cols());
  for (Index image = 0; image < log_means.rows(); ++image) {
    for (Index member = 0; member < members; ++member) {
      const float* row = logits.row_data(image * members + member);
      const double log_sum = detail::softmax_in_double(row, 1., gates);
      for (Index i = 0; i < logits.cols(); ++i)
        logs(member, i) = static_cast<float>(static_cast<double>(row[i]) - log_sum);
    }
    for (Index i = 0; i < logits.cols(); ++i) {
      const auto top = static_cast<double>(logs.col(i).maxCoeff());  // so that no probability becomes 0
      double sum = 0;
      for (Index member = 0; member < members; ++member) sum += std::exp(static_cast<double>(logs(member, i)) - top);
      log_means(image, i) = static_cast<float>(top + std::log(sum / static_cast<double>(members)));
    }
  }
}

/// The targets of each image (images x classes) for every member of its ensemble, in the order of their outputs.
inline void repeat_for_members(ConstMatrixView targets, Index members, MatrixView repeated) {
  if (repeated.rows() != targets.rows() * members || repeated.cols() != targets.cols())
    fail("targets of members: expected ", targets.rows() * members, " rows of ", targets.cols(), " values, found ",
         repeated.rows(), " of ", repeated.cols());
  for (Index row = 0; row < repeated.rows(); ++row)
    std::copy_n(targets.row_data(row / members), targets.cols(), repeated.row_data(row));
}

}  // namespace moevit
