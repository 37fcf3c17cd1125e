/// Row-major matrix views and shapes.
///
/// Letters used in shape comments: N images, T tokens of one image, D model width (dim), H hidden width of an MLP,
/// E experts, k choices per token, C slots per expert and group, G groups, S tokens per group, P soft slots per expert.
#pragma once

#include <moevit/core/index.hpp>

#include <Eigen/Core>

#include <string>
#include <vector>

namespace moevit {

/// Extents of a tensor, outermost first.
using Shape = std::vector<Index>;

/// An owning matrix whose rows are contiguous.
using RowMajorMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

namespace detail {

/// Where column `first` of a matrix begins. One without rows may have no data, and a null pointer takes no offset.
template <class T>
T* column_start(T* data, Index rows, Index first) {
  return rows > 0 ? data + first : data;
}

}  // namespace detail

/// Rows x columns of floats that somebody else owns; rows may lie further apart than their columns need.
class MatrixView : public Eigen::Map<RowMajorMatrix, Eigen::Unaligned, Eigen::OuterStride<>> {
  using Base = Eigen::Map<RowMajorMatrix, Eigen::Unaligned, Eigen::OuterStride<>>;

 public:
  MatrixView(float* data, Index rows, Index cols, Index stride)
      : Base(data, rows, cols, Eigen::OuterStride<>(stride)) {}
  MatrixView(float* data, Index rows, Index cols) : MatrixView(data, rows, cols, cols) {}
  MatrixView(const MatrixView&) = default;
  MatrixView& operator=(const MatrixView&) = default;  // copies the elements, as Eigen does
  using Base::operator=;
  // A view is a pointer: a const view of floats that may be written is as good as any.
  float* data() const { return const_cast<float*>(Base::data()); }
  float& operator()(Index row, Index col) const { return row_data(row)[col]; }
  Index stride() const { return this->outerStride(); }
  float* row_data(Index row) const { return data() + row * stride(); }
  MatrixView rows_of(Index first, Index count) const { return {row_data(first), count, this->cols(), stride()}; }
  MatrixView columns_of(Index first, Index count) const {
    return {detail::column_start(data(), this->rows(), first), this->rows(), count, stride()};
  }
};

/// The same, read only.
class ConstMatrixView : public Eigen::Map<const RowMajorMatrix, Eigen::Unaligned, Eigen::OuterStride<>> {
  using Base = Eigen::Map<const RowMajorMatrix, Eigen::Unaligned, Eigen::OuterStride<>>;

 public:
  ConstMatrixView(const float* data, Index rows, Index cols, Index stride)
      : Base(data, rows, cols, Eigen::OuterStride<>(stride)) {}
  ConstMatrixView(const float* data, Index rows, Index cols) : ConstMatrixView(data, rows, cols, cols) {}
  ConstMatrixView(const MatrixView& view) : ConstMatrixView(view.data(), view.rows(), view.cols(), view.stride()) {}
  Index stride() const { return this->outerStride(); }
  const float* row_data(Index row) const { return this->data() + row * stride(); }
  ConstMatrixView rows_of(Index first, Index count) const { return {row_data(first), count, this->cols(), stride()}; }
  ConstMatrixView columns_of(Index first, Index count) const {
    return {detail::column_start(this->data(), this->rows(), first), this->rows(), count, stride()};
  }
};

/// Number of elements of a shape.
inline Index element_count(const Shape& shape) {
  Index count = 1;
  for (Index extent : shape) count *= extent;
  return count;
}

/// A shape as text, "[3, 4]".
inline std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) text += (axis ? ", " : "") + std::to_string(shape[axis]);
  return text + "]";
}

}  // namespace moevit
