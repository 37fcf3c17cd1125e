/// Layers of residual experts beside a dense MLP of the same rows, and beside plain experts.
#include "fma_peak.hpp"
#include "moe_common.hpp"
#include "sparse_layer.hpp"

#include <moevit/moe/residual_expert_bank.hpp>

#include <algorithm>
#include <array>
#include <memory>

namespace moevit::bench {
namespace {

constexpr Index experts = 8;

template <class X>
using WholeResiduals = ResidualExpertBank<X>;
template <class X>
using Rank4Residuals = ResidualExpertBank<X, 4>;

/// A dense MLP, plain experts and residual ones on `rows` tokens of one image, k = 1 with weight 1.
template <Index width, Index inner, template <class> class BankOf>
struct Layers {
  using Router = TopKRouter<width, experts>;
  using Plain = SparseLayer<Router, inner>;
  using Residual = SparseLayer<Router, inner, BankOf>;
  using MlpType = Mlp<width, inner>;

  Index rows;
  MlpType dense;
  std::vector<Parameter> parameters =
      random_parameters([this](auto visit) { MlpType::each_parameter(dense, "mlp", Role::mlp, visit); });
  Plain plain{{.images = 1, .tokens_per_image = rows}};
  Residual residual{{.images = 1, .tokens_per_image = rows}};
  std::vector<std::vector<float>> x = random_inputs(rows * width);
  std::vector<float> y = std::vector<float>(x[0].size());
  Workspace workspace{ScratchBytes{0, MlpType::scratch_bytes(MlpType::block_rows)}};

  explicit Layers(Index count) : rows(count) {
    plain.context.routing.scale_by_gate = residual.context.routing.scale_by_gate = false;
    // Equal choices and equal experts in both: the router is copied, sums of core and residual are the plain experts.
    for (const Parameter& parameter : plain.parameters) parameter.assign(merged(parameter));
  }

  /// Core plus residual, by plain loops.
  std::vector<float> merged(const Parameter& target) const {
    const auto values_of = [&](const std::string& name) {
      for (const Parameter& parameter : residual.parameters)
        if (parameter.name == name) return parameter.values();
      return std::vector<float>();
    };
    const std::string part = "moe.experts.";
    if (!target.name.starts_with(part)) return values_of(target.name);
    const std::string layer = target.name.substr(part.size()), stem = layer.substr(0, layer.find('.'));
    std::vector<float> sum = values_of(part + "residual." + layer);
    const std::vector<float> core = values_of(part + "core." + layer);
    if (sum.empty()) {
      const std::vector<float> left = values_of(part + "residual." + stem + ".left.kernel"),
                               right = values_of(part + "residual." + stem + ".right.kernel");
      const Index outputs = target.shape[2], inputs = target.shape[1], rank = std::ssize(left) / (experts * inputs);
      sum.assign(static_cast<std::size_t>(target.size()), 0.f);
      for (Index row = 0; row < experts * inputs; ++row)
        for (Index r = 0; r < rank; ++r)
          for (Index col = 0; col < outputs; ++col)
            sum[static_cast<std::size_t>(row * outputs + col)] +=
                left[static_cast<std::size_t>(row * rank + r)] *
                right[static_cast<std::size_t>((row / inputs * rank + r) * outputs + col)];
    }
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += core[i % core.size()];
    return sum;
  }

  void run_dense(Index input) {
    const ConstMatrixView rows_of_x(x[static_cast<std::size_t>(input)].data(), rows, width);
    std::fill(y.begin(), y.end(), 0.f);
    const MatrixView stream(y.data(), rows, width);
    workspace.parallel_rows(rows, MlpType::block_rows, [&](Index first, Index count, Arena& arena) {
      const MatrixView part = stream.rows_of(first, count);
      dense.forward(rows_of_x.rows_of(first, count), part, arena,
                    {.residual = part.data(), .residual_stride = part.stride()});
    });
  }
  void run_plain(Index input) { plain.run(x[static_cast<std::size_t>(input)], y); }
  void run_residual(Index input) { residual.run(x[static_cast<std::size_t>(input)], y); }

  /// Times of the three, in turn, in parts of that of the dense MLP: medians and least times.
  std::map<std::string, double> ratios() {
    constexpr int rounds = 61;
    std::array<std::vector<double>, 3> seconds;
    for (int round = 0; round < rounds; ++round) {
      const Index input = round % inputs;
      const auto time = [&](std::size_t which, auto run) {
        const double start = thread_seconds();
        run();
        seconds[which].push_back(thread_seconds() - start);
      };
      time(0, [&] { run_dense(input); });
      time(1, [&] { run_plain(input); });
      time(2, [&] { run_residual(input); });
    }
    const auto middle = [&](std::size_t which) {
      std::vector<double>& list = seconds[which];
      std::nth_element(list.begin(), list.begin() + rounds / 2, list.end());
      return list[rounds / 2];
    };
    const auto least = [&](std::size_t which) { return *std::ranges::min_element(seconds[which]); };
    return {{"times_dense", middle(2) / middle(0)},
            {"times_dense_least", least(2) / least(0)},
            {"plain_times_dense", middle(1) / middle(0)},
            {"plain_times_dense_least", least(1) / least(0)}};
  }

  void check(Index input) {
    run_plain(input);
    const reference::Matrix expected(ConstMatrixView(y.data(), rows, width));
    run_residual(input);
    require_close({y.data(), rows, width}, expected, reference::rounding_tolerance(inner, 4));
  }
};

template <Index width, Index inner, template <class> class BankOf>
void add_layers(const std::string& name, Index rows_per_expert) {
  add("experts/residual/" + name + "_R" + std::to_string(rows_per_expert), [rows_per_expert] {
    using Type = Layers<width, inner, BankOf>;
    const auto layers = std::make_shared<Type>(experts * rows_per_expert);
    return Case{[layers](Index input) {
                  layers->run_residual(input);
                  return Work{.multiply_adds = layers->residual.cost().multiply_adds,
                              .tokens = static_cast<double>(layers->rows)};
                },
                [layers](Index input) { layers->check(input); }, layers->ratios()};
  });
}

const bool added = [] {
  for (const Index rows : {64, 128, 256}) {
    add_layers<384, 1536, WholeResiduals>("D384_H1536_E8_whole", rows);
    add_layers<384, 1536, Rank4Residuals>("D384_H1536_E8_rank4", rows);
    add_layers<768, 3072, WholeResiduals>("D768_H3072_E8_whole", rows);
    add_layers<768, 3072, Rank4Residuals>("D768_H3072_E8_rank4", rows);
  }
  add_layers<192, 768, WholeResiduals>("D192_H768_E8_whole", 64);
  return true;
}();

}  // namespace
}  // namespace moevit::bench
