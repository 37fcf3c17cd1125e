/// Learned biases of attention by relative position within a window (Swin).
#pragma once

#include <moevit/layers/linear.hpp>

namespace moevit {

/// A bias for every head and every difference of two places of a window: a table of (2 window - 1)^2 differences x
/// heads, where the row is (query row - key row + window - 1) * (2 window - 1) + the same of columns. Source: Liu et
/// al. 2021, section 3.2.
template <Index window, Index heads>
class RelativePositions {
 public:
  static constexpr Index area = window * window;
  static constexpr Index side = 2 * window - 1;
  static constexpr Index differences = side * side;

  RelativePositions() : table_(differences * heads) {}

  /// out (area x area) = factor * biases of a head; what stands behind its columns becomes zero.
  void expand(Index head, float factor, MatrixView out) const {
    std::fill_n(out.data(), area * out.stride(), 0.f);
    each_difference([&](Index query, Index key, Index difference) {
      out(query, key) = factor * table_[difference * heads + head];
    });
  }
  /// sums (differences) += a gradient of expanded biases, area x area.
  static void add_by_difference(ConstMatrixView d, float* sums) {
    each_difference([&](Index query, Index key, Index difference) { sums[difference] += d.row_data(query)[key]; });
  }
  /// The table += factor * sums of a head.
  void add(Index head, float factor, const float* sums) {
    for (Index i = 0; i < differences; ++i) table_[i * heads + head] += factor * sums[i];
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& name, const ParameterVisitor<Self>& visit) {
    visit(plain_parameter<ParameterValue<Self>>(name, self.table_.data(), {differences, heads}, Role::attention));
  }

 private:
  /// visit(query, key, row of the table).
  template <class Visit>
  static void each_difference(Visit visit) {
    for (Index query = 0; query < area; ++query)
      for (Index key_row = 0; key_row < window; ++key_row) {
        const Index first = (query / window - key_row + window - 1) * side + query % window + window - 1;
        for (Index column = 0; column < window; ++column) visit(query, key_row * window + column, first - column);
      }
  }

  AlignedBuffer<float> table_;
};

}  // namespace moevit
