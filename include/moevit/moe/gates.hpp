/// From tokens to gates: logits, noise, softmax.
#pragma once

#include <moevit/layers/linear.hpp>
#include <moevit/moe/routing_options.hpp>
#include <moevit/simd/few_columns.hpp>
#include <moevit/simd/rows.hpp>
#include <moevit/simd/softmax_rows.hpp>

#include <cmath>

namespace moevit {

/// Rows that a worker scores at a time; of few experts four times as many where it is the only one, as it transposes
/// their columns every time.
inline constexpr Index router_block_rows = 56;
/// Up to so many experts, rows are multiplied where they lie, without filling tiles with them: a layer of eight experts
/// is routed in 0.7 of the time.
inline constexpr Index few_experts = 16;

/// Bytes of scratch of a worker for router_logits of `rows` rows: tiles, or the columns of few experts.
constexpr Index router_worker_bytes(Index rows, Index dim) {
  return std::max(tiles_bytes(largest_block(rows, router_block_rows), dim), arena_bytes<float>(few_experts * dim));
}

namespace detail {

/// router_logits for few experts.
inline void few_router_logits(ConstMatrixView x, const simd::PackedView& kernel, const float* bias, MatrixView logits,
                              Workspace& workspace) {
  const Index block = workspace.workers() == 1 ? 4 * router_block_rows : router_block_rows, experts = kernel.cols;
  workspace.parallel_rows(x.rows(), block, [&](Index first, Index rows, Arena& arena) {
    float* const columns = arena.take<float>(experts * kernel.rows);
    simd::transpose(kernel.floats(), kernel.panel, experts, kernel.rows, columns, kernel.rows);
    simd::multiply_columns_of_rows({x.row_data(first), rows, x.cols(), x.stride()}, columns, experts,
                                   logits.row_data(first), logits.stride());
    if (!bias) return;
    for (Index row = first; row < first + rows; ++row) simd::add_scaled_row(1.f, bias, experts, logits.row_data(row));
  });
}

}  // namespace detail

/// logits = x W + bias, in float32. x: rows x D, logits: rows x E. `bias` may be null, else it is padded to whole
/// panels.
inline void router_logits(ConstMatrixView x, const simd::PackedView& kernel, const float* bias, MatrixView logits,
                          Workspace& workspace) {
  if (kernel.cols <= few_experts) return detail::few_router_logits(x, kernel, bias, logits, workspace);
  const simd::Epilogue epilogue{.bias = bias};
  workspace.parallel_rows(x.rows(), router_block_rows, [&](Index first, Index rows, Arena& arena) {
    const simd::RowTiles tiles = take_tiles(rows, kernel, arena);
    simd::fill_tiles(tiles, [&](Index row) { return x.row_data(first + row); });
    simd::gemm(tiles, kernel, epilogue, simd::RowsOut{logits.row_data(first), logits.stride()});
  });
}

/// noisy = logits + noise_std / choices * unit, where `choices` is the number of experts a token can choose from.
/// Source: V-MoE; the paper's "noise 1.0" is a standard deviation of 1/E.
inline void add_noise(ConstMatrixView logits, std::span<const float> unit, double noise_std, Index choices,
                      MatrixView noisy) {
  const float deviation = static_cast<float>(noise_std / static_cast<double>(choices));
  for (Index row = 0; row < logits.rows(); ++row)
    for (Index col = 0; col < logits.cols(); ++col)
      noisy(row, col) = logits(row, col) + deviation * unit[static_cast<std::size_t>(row * logits.cols() + col)];
}

/// gates = softmax of each row of the logits.
inline void softmax_gates(ConstMatrixView logits, MatrixView gates, Workspace& workspace) {
  workspace.parallel_rows(logits.rows(), 256, [&](Index first, Index rows, Arena&) {
    simd::softmax_rows([&](Index row) { return logits.row_data(first + row); }, rows, logits.cols(),
                       [&](Index row) { return gates.row_data(first + row); });
  });
}

/// Whether all gates are finite.
inline bool finite_gates(ConstMatrixView gates) {
  if (gates.stride() == gates.cols()) return simd::all_finite(gates.data(), gates.size());
  for (Index row = 0; row < gates.rows(); ++row)
    if (!simd::all_finite(gates.row_data(row), gates.cols())) return false;
  return true;
}

/// Throws Error naming the block and the token when a gate is not finite.
inline void check_gates(ConstMatrixView gates, int block) {
  if (finite_gates(gates)) return;
  for (Index row = 0; row < gates.rows(); ++row)
    for (Index col = 0; col < gates.cols(); ++col)
      if (!std::isfinite(gates(row, col)))
        fail("router of block ", block, ": expected finite gates, found ", gates(row, col), " for token ", row,
             ", expert ", col);
}

}  // namespace moevit
