/// Kernels as plain loops in double precision: what tests and benchmarks compare with.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/core/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

namespace moevit::reference {

using Values = std::vector<double>;

/// A row-major matrix of doubles.
struct Matrix {
  Index rows = 0;
  Index cols = 0;
  Values values;

  Matrix(Index row_count, Index col_count)
      : rows(row_count), cols(col_count), values(static_cast<std::size_t>(row_count * col_count)) {}
  Matrix(Index row_count, Index col_count, Values elements)
      : rows(row_count), cols(col_count), values(std::move(elements)) {}
  explicit Matrix(ConstMatrixView view) : Matrix(view.rows(), view.cols()) {
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < cols; ++c) (*this)(r, c) = static_cast<double>(view.row_data(r)[c]);
  }

  double& operator()(Index row, Index col) { return values[static_cast<std::size_t>(row * cols + col)]; }
  double operator()(Index row, Index col) const { return values[static_cast<std::size_t>(row * cols + col)]; }
  double* row(Index index) { return values.data() + index * cols; }
  const double* row(Index index) const { return values.data() + index * cols; }

  /// Rows [first, first + count).
  Matrix rows_of(Index first, Index count) const {
    Matrix part(count, cols);
    std::copy_n(row(first), count * cols, part.values.data());
    return part;
  }
  /// Columns [first, first + count).
  Matrix cols_of(Index first, Index count) const {
    Matrix part(rows, count);
    for (Index r = 0; r < rows; ++r) std::copy_n(row(r) + first, count, part.row(r));
    return part;
  }
};

inline Values to_double(std::span<const float> values) { return {values.begin(), values.end()}; }

/// x W.
inline Matrix multiply(const Matrix& x, const Matrix& w) {
  Matrix y(x.rows, w.cols);
  for (Index r = 0; r < x.rows; ++r)
    for (Index k = 0; k < x.cols; ++k)
      for (Index c = 0; c < w.cols; ++c) y(r, c) += x(r, k) * w(k, c);
  return y;
}

/// x W + bias; an empty bias adds nothing.
inline Matrix linear(const Matrix& x, const Matrix& w, const Values& bias) {
  Matrix y = multiply(x, w);
  for (Index r = 0; r < y.rows && !bias.empty(); ++r)
    for (Index c = 0; c < y.cols; ++c) y(r, c) += bias[static_cast<std::size_t>(c)];
  return y;
}

inline double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::gelu_tanh:
      return 0.5 * x * (1. + std::tanh(std::sqrt(2. / std::acos(-1.)) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.));
    case Activation::gelu_quick:
      return x / (1. + std::exp(-1.702 * x));
    case Activation::relu:
      break;
  }
  return x > 0. ? x : 0.;
}

/// (x - mean) / sqrt(variance + epsilon) * scale + bias, in place; an empty bias adds nothing.
inline void layer_norm_row(double* x, Index count, const Values& scale, const Values& bias, double epsilon) {
  double mean = 0., variance = 0.;
  for (Index i = 0; i < count; ++i) mean += x[i] / static_cast<double>(count);
  for (Index i = 0; i < count; ++i) variance += (x[i] - mean) * (x[i] - mean) / static_cast<double>(count);
  for (Index i = 0; i < count; ++i) {
    const auto col = static_cast<std::size_t>(i);
    x[i] = (x[i] - mean) / std::sqrt(variance + epsilon) * scale[col] + (bias.empty() ? 0. : bias[col]);
  }
}

inline Matrix layer_norm(Matrix x, const Values& scale, const Values& bias, double epsilon) {
  for (Index r = 0; r < x.rows; ++r) layer_norm_row(x.row(r), x.cols, scale, bias, epsilon);
  return x;
}

/// softmax(factor * x) in place.
inline void softmax_row(double* x, Index count, double factor) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0.;
  for (Index i = 0; i < count; ++i) largest = std::max(largest, factor * x[i]);
  for (Index i = 0; i < count; ++i) sum += x[i] = std::exp(factor * x[i] - largest);
  for (Index i = 0; i < count; ++i) x[i] /= sum;
}

/// softmax(factor * q k^T) v: queries x width, tokens x width, tokens x width.
inline Matrix attention_head(const Matrix& q, const Matrix& k, const Matrix& v, double factor) {
  Matrix mixed(q.rows, v.cols);
  Values scores(static_cast<std::size_t>(k.rows));
  for (Index query = 0; query < q.rows; ++query) {
    for (Index token = 0; token < k.rows; ++token) {
      double& score = scores[static_cast<std::size_t>(token)] = 0.;
      for (Index i = 0; i < q.cols; ++i) score += q(query, i) * k(token, i);
    }
    softmax_row(scores.data(), k.rows, factor);
    for (Index token = 0; token < k.rows; ++token)
      for (Index i = 0; i < v.cols; ++i) mixed(query, i) += scores[static_cast<std::size_t>(token)] * v(token, i);
  }
  return mixed;
}

/// Half a unit in the last place of 1: the largest relative error of one float operation.
inline constexpr double unit_roundoff = std::numeric_limits<float>::epsilon() / 2.;

/// The largest ||found - expected|| / ||expected|| of a row; infinite when something is not finite or the shapes
/// differ.
inline double relative_error(ConstMatrixView found, const Matrix& expected) {
  if (found.rows() != expected.rows || found.cols() != expected.cols) return std::numeric_limits<double>::infinity();
  double largest = 0.;
  for (Index r = 0; r < expected.rows; ++r) {
    double difference = 0., norm = 0.;
    for (Index c = 0; c < expected.cols; ++c) {
      difference += std::pow(static_cast<double>(found.row_data(r)[c]) - expected(r, c), 2);
      norm += std::pow(expected(r, c), 2);
    }
    const double error = difference == 0. ? 0. : std::sqrt(difference / norm);
    if (!(error <= largest)) largest = std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
  }
  return largest;
}

/// What relative_error may be after `steps` sums of `terms` products, each as large as the result: rounding errors of a
/// sum grow in the norm like the square root of its length, and 8 covers their spread and the factor between the norms.
inline double rounding_tolerance(Index terms, Index steps = 1) {
  return 8. * std::sqrt(static_cast<double>(terms)) * static_cast<double>(steps) * unit_roundoff;
}

}  // namespace moevit::reference
