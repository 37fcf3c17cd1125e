/// The residual that an expert adds to a kernel that all experts share.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/simd/few_columns.hpp>
#include <moevit/simd/row_gradients.hpp>
#include <moevit/simd/rows.hpp>
#include <moevit/simd/summed_gemm.hpp>

namespace moevit {

/// The rank that stands for a residual stored whole.
inline constexpr Index full_rank = 0;

/// The residual of one kernel, inputs x outputs: whole, or the product of two factors of `rank`.
template <Index inputs, Index outputs, Index rank>
class KernelResidual {
  static_assert(rank > 0, "KernelResidual: the rank must be positive");

 public:
  /// Bytes of scratch of multiply() for `rows` rows.
  static constexpr Index scratch_bytes(Index rows) { return arena_bytes<float>(rows * rank); }

  /// y = epilogue(x (core + left right)), as x core + (x left) right: per row rank * (inputs + outputs) multiply-adds
  /// more than the core takes. The second term joins the sums of the first in registers.
  template <class Out>
  void multiply(const simd::RowTiles& x, const simd::PackedView& core, const simd::Epilogue& epilogue, const Out& y,
                Arena& arena) const {
    const Arena::Scope scope(arena);
    float* const narrow = arena.take<float>(x.rows * rank);
    simd::multiply_columns(x, left_.data(), rank, narrow);
    simd::Epilogue own = epilogue;
    own.factors = {rank, narrow, right_.kernel().floats()};
    simd::gemm(x, core, own, y);
  }

  /// target += residual, target in panels.
  void add_to(float* target) const {
    const simd::PackedView right = right_.kernel();
    for (Index panel = 0; panel < right.panels(); ++panel)
      for (Index row = 0; row < inputs; ++row) {
        float* out = target + (panel * inputs + row) * right.panel;
        for (Index r = 0; r < rank; ++r)
          simd::add_scaled_row(left_at(row, r), right.floats() + (panel * rank + r) * right.panel, right.panel, out);
      }
  }

  /// Adds the gradient of the factors, whose values are those of `weights`, from that of their product.
  void add_gradient(const LinearGradient& sum, const KernelResidual& weights, Workspace& workspace) {
    const simd::PackedView right = weights.right_.kernel();
    float* const d_right = right_.gradient().kernel;
    const auto gradient_row = [&](Index panel, Index row) { return sum.kernel + (panel * inputs + row) * right.panel; };
    workspace.parallel(right.panels(), [&](Index panel, Arena&) {  // left^T sum
      for (Index row = 0; row < inputs; ++row)
        for (Index r = 0; r < rank; ++r)
          simd::add_scaled_row(weights.left_at(row, r), gradient_row(panel, row), right.panel,
                               d_right + (panel * rank + r) * right.panel);
    });
    workspace.parallel_rows(inputs, 64, [&](Index first, Index count, Arena&) {  // sum right^T
      for (Index row = first; row < first + count; ++row)
        for (Index r = 0; r < rank; ++r)
          for (Index panel = 0; panel < right.panels(); ++panel)
            left_[left_layout.offset(row, r)] +=
                simd::dot_row(gradient_row(panel, row), right.floats() + (panel * rank + r) * right.panel, right.panel);
    });
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    visit({join_name(prefix, "left.kernel"), {inputs, rank}, Role::expert, {self.left_.data()}, left_layout});
    Linear<rank, outputs, false>::each_parameter(self.right_, join_name(prefix, "right"), Role::expert, visit);
  }

 private:
  /// Column by column, as multiply_columns() reads it: panels of one column.
  static constexpr ParameterLayout left_layout{.rows = inputs, .cols = rank, .first_column = 0, .panel = 1};

  float left_at(Index row, Index col) const { return left_[left_layout.offset(row, col)]; }

  AlignedBuffer<float> left_{inputs * rank};
  Linear<rank, outputs, false> right_;
};

template <Index inputs, Index outputs>
class KernelResidual<inputs, outputs, full_rank> {
 public:
  /// Bytes of scratch of multiply() for `rows` rows.
  static constexpr Index scratch_bytes(Index rows) { return arena_bytes<float>(simd::sum_room_size(rows, inputs)); }

  /// y = epilogue(x (core + residual)).
  template <class Out>
  void multiply(const simd::RowTiles& x, const simd::PackedView& core, const simd::Epilogue& epilogue, const Out& y,
                Arena& arena) const {
    const Arena::Scope scope(arena);
    float* room = arena.take<float>(simd::sum_room_size(x.rows, inputs));
    simd::gemm_of_sum(x, core, residual_.kernel(), epilogue, y, room);
  }

  /// target += residual, target in panels.
  void add_to(float* target) const {
    simd::add_scaled_row(1.f, residual_.kernel().floats(), simd::packed_size(inputs, outputs), target);
  }

  /// Adds the gradient of the residual, which is that of the sum.
  void add_gradient(const LinearGradient& sum, const KernelResidual&, Workspace&) {
    simd::add_scaled_row(1.f, sum.kernel, simd::packed_size(inputs, outputs), residual_.gradient().kernel);
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Linear<inputs, outputs, false>::each_parameter(self.residual_, prefix, Role::expert, visit);
  }

 private:
  Linear<inputs, outputs, false> residual_;
};

}  // namespace moevit
