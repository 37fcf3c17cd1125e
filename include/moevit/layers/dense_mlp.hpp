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

/// As add_mlp with masks, leaving the hidden layers in `saved` (rows x hidden).
template <class MlpType, class Norm>
void add_mlp_saved(const MlpType& mlp, const Norm& norm, float epsilon, const float* scale, ConstMatrixView stream,
                   MatrixView saved, MatrixView result, Workspace& workspace, const BlockMasks& masks = {}) {
  workspace.parallel_rows(stream.rows(), MlpType::block_rows, [&](Index first, Index count, Arena& arena) {
    const ConstMatrixView source = stream.rows_of(first, count);
    const simd::RowTiles normed = mlp.take_input(count, arena);
    norm.forward(source, normed, arena.take<float>(MlpType::dim), epsilon);
    const MatrixView target = result.rows_of(first, count);
    simd::Epilogue epilogue{.scale = scale, .residual = source.data(), .residual_stride = source.stride()};
    if (masks.mlp.is_active()) epilogue = {};
    mlp.forward_saved(normed, saved.rows_of(first, count), target, arena, epilogue, masks.hidden.from(first));
    if (masks.mlp.is_active()) add_masked_branch(source, scale, masks.mlp.from(first), target);
  });
}

/// Scratch of add_mlp_saved and add_mlp_gradient for `rows` rows, but for transposed weights.
template <class MlpType, class Norm>
constexpr ScratchBytes mlp_training_scratch(Index rows) {
  const Index block = largest_block(rows, MlpType::block_rows);
  const Index forward =
      arena_bytes<float>(MlpType::dim) + tiles_bytes(block, MlpType::dim) + MlpType::saved_scratch_bytes(block);
  return {arena_bytes<float>(rows * MlpType::hidden) + 2 * arena_bytes<float>(rows * MlpType::dim) +
              Norm::backward_bytes(rows),
          std::max(forward, MlpType::backward_worker_bytes(block, rows))};
}

/// The gradient of y = x + mlp(norm(x)) for rows x: d_stream, the gradient of y, becomes that of x. `d_branch` is the
/// gradient of mlp(norm(x)), which may be d_stream itself; `weights` are those of the MLP; `mask` is that of the hidden
/// layer.
template <class MlpType, class Norm>
void add_mlp_gradient(const typename MlpType::Transposed& weights, const Norm& norm, float epsilon, ConstMatrixView x,
                      MatrixView saved, ConstMatrixView d_branch, MlpType& mlp_grads, Norm& norm_grads,
                      MatrixView d_stream, Workspace& workspace, const ElementMask& mask = {}) {
  Arena& shared = workspace.shared();
  const Arena::Scope scope(shared);
  const Index rows = x.rows();
  const auto take = [&](Index width) { return MatrixView(shared.take<float>(rows * width), rows, width); };
  const MatrixView normed = take(MlpType::dim), d_normed = take(MlpType::dim), d_hidden = take(MlpType::hidden);
  workspace.parallel_rows(rows, MlpType::block_rows, [&](Index first, Index count, Arena& arena) {
    norm.forward(x.rows_of(first, count), normed.rows_of(first, count), epsilon);
    MlpType::backward_rows(weights, d_branch.rows_of(first, count), saved.rows_of(first, count),
                           d_hidden.rows_of(first, count), d_normed.rows_of(first, count), arena, mask.from(first));
  });
  mlp_grads.add_gradient(normed, saved, d_hidden, d_branch, workspace);
  norm.backward(x, d_normed, norm_grads, d_stream, epsilon, workspace);
}

}  // namespace moevit
