/// The gradients of a golden case: compares them one by one and finds the ones that nothing was compared with.
#pragma once

#include "golden/manifest.hpp"

#include <set>
#include <string>
#include <vector>

namespace moevit::test {

/// Comparisons with the tensors below "grads/". At the end finish() fails for every tensor that was left out.
class CaseGradients {
 public:
  explicit CaseGradients(const GoldenCase& golden) : golden_(golden) {}

  /// By the rule of the READMEs. A case without this gradient is left alone.
  void close(const std::string& gradient, const RowMajorMatrix& got) {
    const std::string tensor = "grads/" + gradient;
    if (!golden_.has(tensor)) return;
    compared_.insert(tensor);
    expect_close(golden_, tensor, {got.data(), static_cast<std::size_t>(got.size())});
  }

  /// Fails for gradients that nothing was compared with.
  void finish() const {
    for (const StoredTensor& tensor : golden_.tensors.tensors()) {
      if (!tensor.name.starts_with("grads/") || compared_.contains(tensor.name)) continue;
      INFO(golden_.name << ": " << tensor.name << " was compared with nothing");
      CHECK(false);
    }
  }

 private:
  const GoldenCase& golden_;
  std::set<std::string> compared_;
};

/// A float tensor as a matrix: its last axis are the columns.
inline RowMajorMatrix matrix_of(const GoldenCase& golden, const std::string& tensor) {
  const std::vector<float> values = golden.floats(tensor);
  const Index cols = golden.shape(tensor).back();
  return ConstMatrixView(values.data(), std::ssize(values) / cols, cols);
}

inline MatrixView view_of(RowMajorMatrix& matrix) { return {matrix.data(), matrix.rows(), matrix.cols()}; }

}  // namespace moevit::test
