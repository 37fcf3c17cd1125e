/// The dense part of a block: norm and MLP over all rows.
#pragma once

#include <moevit/core/config.hpp>
#include <moevit/layers/layer_norm.hpp>
#include <moevit/layers/mlp.hpp>

namespace moevit {

/// The MLP that a configuration's dense blocks and map head have.
template <VitConfig config, Index hidden = config.hidden>
using ConfiguredMlp = Mlp<config.dim, hidden, config.activation, config.mlp_bias>;

/// Bytes a worker needs for one normalised row and for a block of rows in the MLP.
template <class MlpType>
constexpr Index dense_mlp_worker_bytes(Index rows) {
  const Index block = largest_block(rows, MlpType::block_rows);
  return arena_bytes<float>(MlpType::dim) + MlpType::scratch_bytes(block);
}

/// stream += scale * mlp(norm(stream)), a block of rows at a time. scale (layer scale) may be null.
template <class MlpType, class Norm>
void add_mlp(const MlpType& mlp, const Norm& norm, float epsilon, const float* scale, MatrixView stream,
             Workspace& workspace) {
  workspace.parallel_rows(stream.rows(), MlpType::block_rows, [&](Index first, Index count, Arena& arena) {
    const MatrixView target = stream.rows_of(first, count);
    const simd::RowTiles normed = mlp.take_input(count, arena);
    norm.forward(target, normed, arena.take<float>(MlpType::dim), epsilon);
    mlp.forward(normed, target, arena, {.scale = scale, .residual = target.data(), .residual_stride = target.stride()});
  });
}

}  // namespace moevit
