/// One expert against its rows: warm, the same weights in every call, and cold, weights that have left the caches.
#include "curves.hpp"
#include "random_values.hpp"
#include "sparse_layer.hpp"

namespace moevit::bench {
namespace {

constexpr Index dim = 384, hidden = 1536;
using MlpType = Mlp<dim, hidden>;
constexpr double expert_bytes = 2. * dim * hidden * sizeof(float);

/// Times `rows` rows through one expert of the bank after the other.
double expert_seconds(const ExpertBank<MlpType>& bank, Index rows) {
  const std::vector<float> x = test::normal_values(rows * dim, 3);
  std::vector<float> y(x.size());
  Arena arena(ExpertBank<MlpType>::scratch_bytes(rows));
  return time_runs([&](Index call) {
    bank.forward(call % bank.experts(), {x.data(), rows, dim}, {y.data(), rows, dim}, arena);
  });
}

ExpertBank<MlpType> random_bank(Index experts) {
  ExpertBank<MlpType> bank(experts);
  std::vector<Parameter> parameters;
  ExpertBank<MlpType>::each_parameter(
      bank, "experts", [&](auto&& parameter) { parameters.push_back(std::forward<decltype(parameter)>(parameter)); });
  test::randomise(parameters, 7);
  return bank;
}

}  // namespace

void expert_curves(const Limits& limits) {
  // Twice the last cache, so that an expert is gone when its turn comes again.
  const double cache = static_cast<double>(cache_sizes().l3);
  const auto cold_experts = static_cast<Index>(2. * cache / expert_bytes) + 2;
  const auto curve = [&](const std::string& series, const ExpertBank<MlpType>& bank, double bandwidth) {
    for (Index rows = 1; rows <= MlpType::block_rows; rows = rows < 32 ? 2 * rows : rows + 12) {
      const double expected =
          limits.seconds(static_cast<double>(rows * MlpType::multiply_adds), expert_bytes, bandwidth);
      write_point("expert rows", series, static_cast<double>(rows), expert_seconds(bank, rows), expected);
    }
  };
  curve("warm", random_bank(1), limits.bandwidth_of(expert_bytes));
  curve("cold", random_bank(cold_experts), limits.levels.back().bytes_per_second);
}

}  // namespace moevit::bench
