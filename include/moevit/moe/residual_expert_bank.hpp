/// Experts that share a core: weights = core + a residual of their own (Residual MoE).
#pragma once

#include <moevit/moe/expert_bank.hpp>
#include <moevit/simd/rows.hpp>

#include <vector>

namespace moevit {

/// The rank that stands for a residual stored whole.
inline constexpr Index full_rank = 0;

/// The residual of one kernel, inputs x outputs: whole, or the product of two factors of `rank`.
template <Index inputs, Index outputs, Index rank>
class KernelResidual {
 public:
  /// target += residual, target in panels.
  void add_to(float* target) const {
    const simd::PackedView left = left_.kernel(), right = right_.kernel();
    for (Index panel = 0; panel < right.panels(); ++panel)
      for (Index row = 0; row < inputs; ++row) {
        float* out = target + (panel * inputs + row) * right.panel;
        for (Index r = 0; r < rank; ++r)
          simd::add_scaled_row(left_at(left, row, r), right.floats() + (panel * rank + r) * right.panel, right.panel,
                               out);
      }
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    Linear<inputs, rank, false>::each_parameter(self.left_, join_name(prefix, "left"), Role::expert, visit);
    Linear<rank, outputs, false>::each_parameter(self.right_, join_name(prefix, "right"), Role::expert, visit);
  }

 private:
  static float left_at(const simd::PackedView& view, Index row, Index col) {
    return view.floats()[(col / view.panel * view.rows + row) * view.panel + col % view.panel];
  }

  Linear<inputs, rank, false> left_;
  Linear<rank, outputs, false> right_;
};

template <Index inputs, Index outputs>
class KernelResidual<inputs, outputs, full_rank> {
 public:
  /// target += residual, target in panels.
  void add_to(float* target) const {
    simd::add_scaled_row(1.f, residual_.kernel().floats(), simd::packed_size(inputs, outputs), target);
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    Linear<inputs, outputs, false>::each_parameter(self.residual_, prefix, Role::expert, visit);
  }

 private:
  Linear<inputs, outputs, false> residual_;
};

/// E experts theta_e = core + residual_e, each an MLP. Kernels are stored once for the core and once per residual,
/// which may be factors of `rank`; biases have full residuals. A block of rows adds an expert's kernels up in scratch
/// and multiplies by the sum, so its cost is that of a plain expert plus reading the residual. Source: Wu et al. 2022,
/// section 3.
template <class X, Index rank = full_rank>
class ResidualExpertBank;

template <Index dim_, Index hidden, Activation activation, bool has_bias, Index rank>
class ResidualExpertBank<Mlp<dim_, hidden, activation, has_bias>, rank> {
  using Core = Mlp<dim_, hidden, activation, has_bias>;

 public:
  static constexpr Index dim = dim_;
  static constexpr Index block_rows = Core::block_rows;

  explicit ResidualExpertBank(Index experts) : residuals_(static_cast<std::size_t>(experts)) {}

  static constexpr Index scratch_bytes(Index rows) {
    return arena_bytes<float>(simd::packed_size(dim, hidden)) + arena_bytes<float>(simd::packed_size(hidden, dim)) +
           (has_bias ? arena_bytes<float>(padded(hidden)) + arena_bytes<float>(padded(dim)) : 0) +
           tiles_bytes(rows, dim) + tiles_bytes(rows, hidden);
  }
  Index experts() const { return static_cast<Index>(residuals_.size()); }

  /// y = mlp with core + residual weights (x), for a block of rows.
  void forward(Index expert, ConstMatrixView x, MatrixView y, Arena& arena) const {
    const Residual& residual = residuals_[static_cast<std::size_t>(expert)];
    static constexpr Activation inner = activation;
    const float* bias1 = add_bias(core_hidden_, residual.hidden_bias, hidden, arena);
    const simd::PackedView kernel1 = add_kernel(core_hidden_, residual.hidden_kernel, arena);
    const float* bias2 = add_bias(core_output_, residual.output_bias, dim, arena);
    const simd::PackedView kernel2 = add_kernel(core_output_, residual.output_kernel, arena);
    const simd::RowTiles tiles = take_tiles(x.rows(), kernel1, arena), middle = take_tiles(x.rows(), kernel2, arena);
    simd::fill_tiles(tiles, [&](Index row) { return x.row_data(row); });
    simd::gemm(tiles, kernel1, {.bias = bias1, .activation = &inner}, simd::TilesOut{middle});
    simd::gemm(middle, kernel2, {.bias = bias2}, simd::RowsOut{y.data(), y.stride()});
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit_parameter) {
    using T = ParameterValue<Self>;
    const auto visit = [&](auto&& parameter) {
      parameter.stores.clear();  // core and residuals are added up as floats, so neither can be packed
      visit_parameter(std::move(parameter));
    };
    const std::string core = join_name(prefix, "core"), own = join_name(prefix, "residual");
    CoreHidden::each_parameter(self.core_hidden_, join_name(core, "hidden"), Role::mlp, visit);
    CoreOutput::each_parameter(self.core_output_, join_name(core, "output"), Role::mlp, visit);
    const auto list = [&](Index number) {
      auto& residual = self.residuals_[static_cast<std::size_t>(number)];
      std::vector<BasicParameter<T>> parameters;
      const auto collect = [&](auto&& parameter) { parameters.push_back(std::move(parameter)); };
      residual_parameters(residual, own, collect);
      return parameters;
    };
    each_stacked_parameter(self.experts(), list, visit);
  }

 private:
  using CoreHidden = Linear<dim, hidden, has_bias>;
  using CoreOutput = Linear<hidden, dim, has_bias>;
  struct Residual {
    KernelResidual<dim, hidden, rank> hidden_kernel;
    KernelResidual<hidden, dim, rank> output_kernel;
    AlignedBuffer<float> hidden_bias = has_bias ? padded_vector(hidden) : AlignedBuffer<float>();
    AlignedBuffer<float> output_bias = has_bias ? padded_vector(dim) : AlignedBuffer<float>();
  };

  template <class ResidualType, class Visit>
  static void residual_parameters(ResidualType& residual, const std::string& prefix, Visit&& visit) {
    using T = ParameterValue<ResidualType>;
    KernelResidual<dim, hidden, rank>::each_parameter(residual.hidden_kernel, join_name(prefix, "hidden"), visit);
    if constexpr (has_bias)
      visit(plain_parameter<T>(join_name(prefix, "hidden.bias"), residual.hidden_bias.data(), {hidden}, Role::expert));
    KernelResidual<hidden, dim, rank>::each_parameter(residual.output_kernel, join_name(prefix, "output"), visit);
    if constexpr (has_bias)
      visit(plain_parameter<T>(join_name(prefix, "output.bias"), residual.output_bias.data(), {dim}, Role::expert));
  }

  static constexpr Index padded(Index count) { return round_up(count, simd::panel_width(count)); }

  template <class CoreLayer, class KernelType>
  static simd::PackedView add_kernel(const CoreLayer& core, const KernelType& residual, Arena& arena) {
    simd::PackedView sum = core.kernel();
    const Index size = sum.panels() * sum.rows * sum.panel;
    float* room = arena.take<float>(size);
    std::copy_n(sum.floats(), size, room);
    residual.add_to(room);
    sum.data = room;
    return sum;
  }

  template <class CoreLayer>
  static const float* add_bias(const CoreLayer& core, const AlignedBuffer<float>& residual, Index count, Arena& arena) {
    if constexpr (!has_bias) return nullptr;
    float* room = arena.take<float>(padded(count));
    std::copy_n(core.bias(), residual.size(), room);
    simd::add_scaled_row(1.f, residual.data(), count, room);
    return room;
  }

  CoreHidden core_hidden_;
  CoreOutput core_output_;
  std::vector<Residual> residuals_;
};

}  // namespace moevit
