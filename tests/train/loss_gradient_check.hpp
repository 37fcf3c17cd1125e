/// Gradients of losses by central differences in double precision.
#pragma once

#include "catch.hpp"
#include "random_values.hpp"
#include "reference.hpp"

#include <algorithm>
#include <cmath>

namespace moevit::test {

/// rows x cols random logits.
inline RowMajorMatrix random_logits(Index rows, Index cols, unsigned seed, float deviation = 1.5f) {
  const std::vector<float> values = normal_values(rows * cols, seed, 0.f, deviation);
  return ConstMatrixView(values.data(), rows, cols);
}

inline ConstMatrixView const_view(const RowMajorMatrix& matrix) {
  return {matrix.data(), matrix.rows(), matrix.cols()};
}
inline MatrixView view(RowMajorMatrix& matrix) { return {matrix.data(), matrix.rows(), matrix.cols()}; }

/// Compares base + gradient of loss(x), a function of a reference::Matrix, with `found`, where `base` is what was in
/// `found` before the gradient was added; 0 for gradients that are assigned.
template <class Loss>
void check_gradient(const RowMajorMatrix& x, float base, const RowMajorMatrix& found, Loss loss) {
  REQUIRE(found.rows() == x.rows());
  REQUIRE(found.cols() == x.cols());
  constexpr double step = 1e-4;
  reference::Matrix point{const_view(x)};
  for (Index row = 0; row < x.rows(); ++row)
    for (Index col = 0; col < x.cols(); ++col) {
      CAPTURE(row, col);
      const double middle = point(row, col);
      const auto difference = [&](double distance) {
        point(row, col) = middle + distance;
        const double above = loss(point);
        point(row, col) = middle - distance;
        const double below = loss(point);
        point(row, col) = middle;
        return (above - below) / (2 * distance);
      };
      // Richardson's combination: its error is of fourth order, as probabilities change over a hundredth of a logit.
      const double slope = (4 * difference(step) - difference(2 * step)) / 3;
      const double expected = static_cast<double>(base) + slope;
      CHECK(std::abs(static_cast<double>(found(row, col)) - expected) <= 1e-7 + 1e-6 * std::abs(expected));
    }
}

/// A matrix full of `value`, of the size of another one.
inline RowMajorMatrix filled_like(const RowMajorMatrix& matrix, float value) {
  return RowMajorMatrix::Constant(matrix.rows(), matrix.cols(), value);
}

}  // namespace moevit::test
