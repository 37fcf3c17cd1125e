/// Experts that share a core: weights = core + a residual of their own (Residual MoE).
#pragma once

#include <moevit/moe/expert_bank.hpp>
#include <moevit/moe/kernel_residual.hpp>

#include <vector>

namespace moevit {

/// E experts theta_e = core + residual_e, each an MLP. Kernels are stored once for the core and once per residual,
/// which may be factors of `rank`; biases have full residuals. Sums are made on the way through a product
/// (simd/summed_gemm.hpp), so a block of rows costs what it costs a plain expert plus reading the core; factors
/// multiply rows beside the core. Where residuals are zero, the bits are those of the core alone. merge_residuals()
/// gives plain experts for inference. Source: Wu et al. 2022, section 3.
template <class X, Index rank = full_rank>
class ResidualExpertBank;

template <Index dim_, Index hidden, Activation activation, bool has_bias, bool has_output_bias, Index rank>
class ResidualExpertBank<Mlp<dim_, hidden, activation, has_bias, has_output_bias>, rank> {
  using Core = Mlp<dim_, hidden, activation, has_bias, has_output_bias>;
  using HiddenResidual = KernelResidual<dim_, hidden, rank>;
  using OutputResidual = KernelResidual<hidden, dim_, rank>;
  static constexpr Index padded(Index count) { return round_up(count, simd::panel_width(count)); }
  static constexpr Index layer_bytes(Index inputs, Index outputs, bool biased) {
    return arena_bytes<float>(simd::packed_size(inputs, outputs)) + (biased ? arena_bytes<float>(padded(outputs)) : 0);
  }
  /// Scratch of both products of a block of rows: sums of biases and what residuals need.
  static constexpr Index products_bytes(Index rows) {
    return std::max(HiddenResidual::scratch_bytes(rows) + (has_bias ? arena_bytes<float>(padded(hidden)) : 0),
                    OutputResidual::scratch_bytes(rows) + (has_output_bias ? arena_bytes<float>(padded(dim_)) : 0));
  }

 public:
  using CoreType = Core;
  static constexpr Index dim = dim_;
  /// What a block costs beside its multiply-adds, sums of kernels and products of few columns, it costs once: so blocks
  /// are as high as they get.
  static constexpr Index block_rows = std::max(Core::expert_block_rows, Index{112});

  explicit ResidualExpertBank(Index experts) : residuals_(static_cast<std::size_t>(experts)) {}

  static constexpr Index scratch_bytes(Index rows) {
    return products_bytes(rows) + tiles_bytes(rows, dim) + tiles_bytes(rows, hidden);
  }
  Index experts() const { return static_cast<Index>(residuals_.size()); }

  /// y = mlp with core + residual weights (x), for a block of rows.
  void forward(Index expert, ConstMatrixView x, MatrixView y, Arena& arena) const {
    forward_rows(
        expert, x.rows(), [&](Index row) { return x.row_data(row); }, y, arena);
  }
  /// See GatheringBank.
  template <class RowOf>
  void forward_rows(Index expert, Index rows, RowOf row_of, MatrixView y, Arena& arena) const {
    static constexpr Activation inner = activation;
    const simd::RowTiles tiles = take_tiles(rows, core_hidden_.kernel(), arena),
                         middle = take_tiles(rows, core_output_.kernel(), arena);
    simd::fill_tiles(tiles, row_of);
    hidden_rows(expert, tiles, {.activation = &inner}, simd::TilesOut{middle}, arena);
    output_rows(expert, middle, simd::RowsOut{y.data(), y.stride()}, arena);
  }

  /// One expert in training passes; it has what Mlp has for them.
  class ExpertType {
   public:
    static constexpr Index saved_width = hidden;
    using Transposed = typename Core::Transposed;
    static constexpr Index transposed_bytes = Core::transposed_bytes;
    static constexpr Index saved_scratch_bytes(Index rows) {
      return products_bytes(rows) + Core::saved_scratch_bytes(rows);
    }
    static constexpr Index backward_worker_bytes(Index block, Index rows) {
      return Core::backward_worker_bytes(block, rows);
    }

    ExpertType(const ResidualExpertBank& bank, Index number) : bank_(bank), number_(number) {}

    void forward_saved(ConstMatrixView x, MatrixView saved, MatrixView y, Arena& arena,
                       const ElementMask& mask = {}) const {
      const Arena::Scope scope(arena);
      const simd::RowTiles tiles = take_tiles(x.rows(), bank_.core_hidden_.kernel(), arena),
                           middle = take_tiles(x.rows(), bank_.core_output_.kernel(), arena);
      simd::fill_tiles(tiles, [&](Index row) { return x.row_data(row); });
      bank_.hidden_rows(number_, tiles, {}, simd::RowsOut{saved.data(), saved.stride()}, arena);
      float* row = arena.take<float>(hidden);
      simd::fill_tiles(middle, [&](Index number) {
        simd::activate_row(activation, saved.row_data(number), hidden, row);
        mask.apply(number, row, hidden);
        return row;
      });
      bank_.output_rows(number_, middle, simd::RowsOut{y.data(), y.stride()}, arena);
    }
    Transposed transposed(Workspace& workspace) const {
      const Residual& residual = bank_.residuals_[static_cast<std::size_t>(number_)];
      return {transposed_sum(bank_.core_hidden_, residual.hidden_kernel, workspace),
              transposed_sum(bank_.core_output_, residual.output_kernel, workspace)};
    }
    static void backward_rows(const Transposed& weights, ConstMatrixView dy, MatrixView saved, MatrixView d_hidden,
                              MatrixView dx, Arena& arena, const ElementMask& mask = {}) {
      Core::backward_rows(weights, dy, saved, d_hidden, dx, arena, mask);
    }

   private:
    const ResidualExpertBank& bank_;
    Index number_;
  };
  ExpertType expert(Index number) const { return {*this, number}; }

  /// Shared scratch of an expert's transposed() and of add_gradients().
  static constexpr Index training_bytes =
      std::max(layer_bytes(dim, hidden, has_bias), layer_bytes(hidden, dim, has_output_bias));
  /// Adds the gradients of all experts to this object; `weights`: the bank that made the pass; rows_of: see
  /// ExpertBank::add_gradients.
  template <class RowsOf>
  void add_gradients(const ResidualExpertBank& weights, RowsOf rows_of, Workspace& workspace) {
    for (Index expert = 0; expert < experts(); ++expert) {  // one after the other, as all add to the core
      const ExpertRows rows = rows_of(expert);
      if (rows.x.rows() == 0) continue;
      Residual& own = residuals_[static_cast<std::size_t>(expert)];
      const Residual& values = weights.residuals_[static_cast<std::size_t>(expert)];
      add_gradient(rows.x, rows.d_hidden, core_hidden_.gradient(),
                   ResidualGradient<HiddenResidual>{own.hidden_kernel, values.hidden_kernel, own.hidden_bias.data()},
                   workspace);
      add_gradient(rows.activated, rows.dy, core_output_.gradient(),
                   ResidualGradient<OutputResidual>{own.output_kernel, values.output_kernel, own.output_bias.data()},
                   workspace);
    }
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit_parameter) {
    using T = ParameterValue<Self>;
    const auto without_stores = [&](BasicParameter<T>&& parameter) {
      parameter.stores.clear();  // core and residuals are added up as floats, so neither can be packed
      visit_parameter(std::move(parameter));
    };
    const ParameterVisitor<Self> visit(without_stores);
    const std::string core = join_name(prefix, "core"), own = join_name(prefix, "residual");
    CoreHidden::each_parameter(self.core_hidden_, join_name(core, "hidden"), Role::mlp, visit);
    CoreOutput::each_parameter(self.core_output_, join_name(core, "output"), Role::mlp, visit);
    std::vector<BasicParameter<T>> all;
    for (auto& residual : self.residuals_) residual_parameters(residual, own, CollectParameters<T>{all});
    each_stacked_parameter<T>(self.experts(), std::move(all), visit);
  }

 private:
  using CoreHidden = Linear<dim, hidden, has_bias>;
  using CoreOutput = Linear<hidden, dim, has_output_bias>;
  struct Residual {
    HiddenResidual hidden_kernel;
    OutputResidual output_kernel;
    AlignedBuffer<float> hidden_bias = has_bias ? padded_vector(hidden) : AlignedBuffer<float>();
    AlignedBuffer<float> output_bias = has_output_bias ? padded_vector(dim) : AlignedBuffer<float>();
  };

  template <class ResidualType>
  static void residual_parameters(ResidualType& residual, const std::string& prefix,
                                  const ParameterVisitor<ResidualType>& visit) {
    using T = ParameterValue<ResidualType>;
    HiddenResidual::each_parameter(residual.hidden_kernel, join_name(prefix, "hidden"), visit);
    if constexpr (has_bias)
      visit(plain_parameter<T>(join_name(prefix, "hidden.bias"), residual.hidden_bias.data(), {hidden}, Role::expert));
    OutputResidual::each_parameter(residual.output_kernel, join_name(prefix, "output"), visit);
    if constexpr (has_output_bias)
      visit(plain_parameter<T>(join_name(prefix, "output.bias"), residual.output_bias.data(), {dim}, Role::expert));
  }

  /// y = epilogue(x (core + residual) + biases) for the hidden and the output layer of an expert.
  template <class Out>
  void hidden_rows(Index expert, const simd::RowTiles& x, simd::Epilogue epilogue, const Out& y, Arena& arena) const {
    const Arena::Scope scope(arena);
    const Residual& residual = residuals_[static_cast<std::size_t>(expert)];
    epilogue.bias = add_bias(core_hidden_, residual.hidden_bias, hidden, arena);
    residual.hidden_kernel.multiply(x, core_hidden_.kernel(), epilogue, y, arena);
  }
  void output_rows(Index expert, const simd::RowTiles& x, const simd::RowsOut& y, Arena& arena) const {
    const Arena::Scope scope(arena);
    const Residual& residual = residuals_[static_cast<std::size_t>(expert)];
    const simd::Epilogue epilogue{.bias = add_bias(core_output_, residual.output_bias, dim, arena)};
    residual.output_kernel.multiply(x, core_output_.kernel(), epilogue, y, arena);
  }

  /// The transpose of core + residual in shared scratch.
  template <class CoreLayer, class KernelType>
  static simd::PackedView transposed_sum(const CoreLayer& core, const KernelType& residual, Workspace& workspace) {
    const Index inputs = core.kernel().rows, outputs = core.kernel().cols;
    float* room = workspace.shared().take<float>(simd::packed_size(outputs, inputs));
    const Arena::Scope scope_of_sum(workspace.shared());
    const simd::PackedView sum = add_kernel(core, residual, workspace.shared());
    workspace.parallel(ceil_div(inputs, simd::panel_width(inputs)),
                       [&](Index panel, Arena&) { simd::transpose_panels(sum, room, panel, panel + 1); });
    return simd::transpose_panels(sum, room, 0, 0);
  }

  /// The residual of a layer whose gradient is added to, its values, and the gradient of its bias.
  template <class KernelType>
  struct ResidualGradient {
    KernelType& kernel;
    const KernelType& values;
    float* bias;
  };
  /// The gradient of a layer's sum is that of its core and of its residual.
  template <class KernelType>
  static void add_gradient(ConstMatrixView x, ConstMatrixView dy, const LinearGradient& core,
                           const ResidualGradient<KernelType>& residual, Workspace& workspace) {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index size = simd::packed_size(core.inputs, core.outputs);
    float* kernel = shared.take<float>(size);
    float* bias = core.bias ? shared.take<float>(padded(core.outputs)) : nullptr;
    std::fill_n(kernel, size, 0.f);
    if (bias) std::fill_n(bias, padded(core.outputs), 0.f);
    const LinearGradient sum{kernel, bias, core.inputs, core.outputs};
    add_weight_gradient(x, dy, sum, workspace);
    simd::add_scaled_row(1.f, kernel, size, core.kernel);
    residual.kernel.add_gradient(sum, residual.values, workspace);
    if (!bias) return;
    simd::add_scaled_row(1.f, bias, core.outputs, core.bias);
    simd::add_scaled_row(1.f, bias, core.outputs, residual.bias);
  }

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
    if (!core.bias()) return nullptr;
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
