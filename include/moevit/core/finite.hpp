/// Refuses matrices with numbers that are not finite.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>

#include <cmath>
#include <string_view>

namespace moevit {

/// Throws Error naming `what`, the row and the column of the first element that is NaN or infinite.
inline void require_finite(std::string_view what, ConstMatrixView values) {
  for (Index row = 0; row < values.rows(); ++row) {
    const float* data = values.row_data(row);
    float nothing = 0.f;  // becomes NaN with the first element that is not finite
    for (Index col = 0; col < values.cols(); ++col) nothing += data[col] * 0.f;
    if (nothing == 0.f) continue;
    Index col = 0;
    while (std::isfinite(data[col])) ++col;
    fail(what, ": row ", row, ": expected finite numbers, found ", data[col], " in column ", col);
  }
}

/// Throws Error naming `what` when the matrices have different shapes.
inline void require_same_shape(std::string_view what, ConstMatrixView expected, ConstMatrixView found) {
  if (expected.rows() == found.rows() && expected.cols() == found.cols()) return;
  fail(what, ": expected ", expected.rows(), " x ", expected.cols(), " values, found ", found.rows(), " x ",
       found.cols());
}

}  // namespace moevit
