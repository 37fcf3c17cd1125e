/// Transformer blocks of hierarchical models: norm, attention over a map, +, norm, MLP or experts, +.
#pragma once

#include <moevit/core/map_size.hpp>
#include <moevit/layers/dense_mlp.hpp>

#include <algorithm>
#include <concepts>

namespace moevit {

/// Maps of one size, and the number of the block in its stage that they go through. Rows of a stream are images of
/// tokens(map) rows each: class tokens first, if the stage has them, then the places.
struct MapBatch {
  Index images = 0;
  MapSize map;
  Index block = 0;
};

/// What a block asks of its attention, which is that of layers/attention.hpp with a MapSize in place of the number of
/// tokens: `dim`, `epsilon` (of the norms), `class_tokens` (per image, in front of its places), scratch,
/// training_scratch and saved_bytes of (images, map), take_saved(images, map, arena), Saved::images_of(first, count,
/// map), and
///
///     forward(norm, stream, map, scale, workspace, block)
///     forward_saved(norm, stream, map, scale, saved, result, workspace, block, mask)
///     backward(norm, x, map, saved, d_branch, grads, norm_grads, d_stream, workspace, block)
///
/// where `block` is the number of the block in its stage. `whole_batch = true` says that training passes must not take
/// some images after the others (statistics over the batch). Attention whose weights follow such statistics has
/// `statistics_size` floats of them, copy_statistics(saved, statistics) and follow(statistics, images, map, momentum).
template <class A>
concept MapAttention = requires(MapSize map) {
  { A::dim } -> std::convertible_to<Index>;
  { A::class_tokens } -> std::convertible_to<Index>;
  { A::epsilon } -> std::convertible_to<float>;
  { A::scratch(Index{1}, map) } -> std::convertible_to<ScratchBytes>;
  { A::training_scratch(Index{1}, map) } -> std::convertible_to<ScratchBytes>;
  { A::saved_bytes(Index{1}, map) } -> std::convertible_to<Index>;
};

/// Images that training passes take through the dense parts of a block at a time when a row of its stream needs
/// `floats` floats.
constexpr Index images_of_training_part(Index floats, Index tokens) {
  return ceil_div(rows_of_training_part(floats), std::max<Index>(tokens, 1));
}

/// What dense and sparse blocks of maps have in common: the attention half and the norm before the second half.
template <class AttentionType>
class MapBlockBase {
  static_assert(MapAttention<AttentionType>, "MapBlock: the attention must be one over maps");

 public:
  static constexpr Index dim = AttentionType::dim;
  static constexpr float epsilon = AttentionType::epsilon;
  using Norm = LayerNorm<dim>;

  /// Rows of one image in the stream.
  static constexpr Index tokens(MapSize map) { return map.places() + AttentionType::class_tokens; }

  void attend(MatrixView stream, const MapBatch& batch, Workspace& workspace) const {
    each_part(batch, images_at_once(batch.map, workspace), [&](Index first, Index count, const MapBatch& part) {
      attend_part(stream.rows_of(first, count), part, workspace);
    });
  }
  const AttentionType& attention() const { return attention_; }
  AttentionType& attention() { return attention_; }
  const Norm& norm2() const { return norm2_; }
  Norm& norm2() { return norm2_; }

  /// Images of a part of a training pass; `row_floats` are what the second half needs for a row.
  static constexpr Index images_per_part(Index images, MapSize map, Index row_floats) {
    if constexpr (requires { requires AttentionType::whole_batch; }) return std::max<Index>(images, 1);
    return images_of_training_part(std::max(12 * dim, row_floats), tokens(map));
  }

  /// middle = stream + masked attention(norm1(stream)) in a pass with backward().
  void attend_saved(ConstMatrixView stream, const MapBatch& batch, const typename AttentionType::Saved& saved,
                    MatrixView middle, Workspace& workspace, const BlockMasks& masks) const {
    attention_.forward_saved(norm1_, stream, batch.map, nullptr, saved, middle, workspace, batch.block,
                             masks.attention);
  }
  /// The gradient of the attention half: d_stream, that of `middle`, becomes that of the stream.
  void attend_backward(ConstMatrixView stream, const MapBatch& batch, const typename AttentionType::Saved& saved,
                       MapBlockBase& grads, MatrixView d_stream, Workspace& workspace, const BlockMasks& masks) const {
    const MatrixView d_branch = branch_gradient(d_stream, masks.attention, masks.room, workspace);
    attention_.backward(norm1_, stream, batch.map, saved, d_branch, grads.attention_, grads.norm1_, d_stream, workspace,
                        batch.block);
  }

 protected:
  /// Images that inference takes through a block at a time: for each worker about four megabytes of stream, queries,
  /// keys, values and outputs, so that they stay in its caches from one step to the next, and about 512 rows, that
  /// weights serve many. In bfloat16 Swin-T took 0.9 of the time for it with 8 images on one core.
  static Index images_at_once(MapSize map, const Workspace& workspace) {
    constexpr Index rows = std::max(Index{1024 * 1024} / (5 * dim), Index{512});
    return std::max(rows * workspace.workers() / std::max<Index>(tokens(map), 1), Index{1});
  }
  void attend_part(MatrixView stream, const MapBatch& part, Workspace& workspace) const {
    attention_.forward(norm1_, stream, part.map, nullptr, workspace, part.block);
  }

  /// The gradient of a branch behind its mask, in `room` (see BlockMasks); without a mask that is d_stream itself.
  static MatrixView branch_gradient(MatrixView d_stream, const BranchMask& mask, float* room, Workspace& workspace) {
    if (!mask.is_active()) return d_stream;
    const MatrixView branch(room, d_stream.rows(), dim);
    mask_gradient(d_stream, mask, branch, workspace);
    return branch;
  }

  /// f(first row, rows, part of the batch) for nearly equal parts of at most `most` images, one after the other.
  template <class F>
  static void each_part(const MapBatch& batch, Index most, F f) {
    const Index rows = tokens(batch.map);
    moevit::each_part(batch.images, most, [&](Index first, Index count) {
      f(first * rows, count * rows, MapBatch{count, batch.map, batch.block});
    });
  }

  template <class Self>
  static void each_attention_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Norm::each_parameter(self.norm1_, join_name(prefix, "norm1"), visit);
    AttentionType::each_parameter(self.attention_, join_name(prefix, "attention"), visit);
    Norm::each_parameter(self.norm2_, join_name(prefix, "norm2"), visit);
  }

 private:
  Norm norm1_;
  AttentionType attention_;
  Norm norm2_;
};

/// A block of maps with a dense MLP.
template <class AttentionType, class MlpType>
class DenseMapBlock : public MapBlockBase<AttentionType> {
  using Base = MapBlockBase<AttentionType>;
  using typename Base::Norm;
  static_assert(MlpType::dim == Base::dim, "DenseMapBlock: attention and MLP must have the same width");

 public:
  using Base::dim;
  using Base::epsilon;
  using Base::tokens;

  static constexpr ScratchBytes scratch(Index images, MapSize map) {
    return one_after_the_other(AttentionType::scratch(images, map),
                               {0, dense_mlp_worker_bytes<MlpType>(images * tokens(map))});
  }
  void forward(MatrixView stream, const MapBatch& batch, Workspace& workspace) const {
    const Index most = Base::images_at_once(batch.map, workspace);
    Base::each_part(batch, most, [&](Index first, Index count, const MapBatch& part) {
      const MatrixView own = stream.rows_of(first, count);
      this->attend_part(own, part, workspace);
      add_mlp(mlp_, this->norm2(), epsilon, nullptr, own, workspace);
    });
  }

  /// What backward() needs of a pass.
  struct Saved {
    typename AttentionType::Saved attention;
    MatrixView middle;  ///< the stream between the halves
    MatrixView hidden;  ///< of the MLP, before the activation

    Saved images_of(Index first, Index count, MapSize map) const {
      return {attention.images_of(first, count, map), middle.rows_of(first * tokens(map), count * tokens(map)),
              hidden.rows_of(first * tokens(map), count * tokens(map))};
    }
  };
  static constexpr Index saved_bytes(Index images, MapSize map) {
    const Index rows = images * tokens(map);
    return AttentionType::saved_bytes(images, map) + arena_bytes<float>(rows * dim) +
           arena_bytes<float>(rows * MlpType::hidden);
  }
  static Saved take_saved(Index images, MapSize map, Arena& arena) {
    const Index rows = images * tokens(map);
    const auto attention = AttentionType::take_saved(images, map, arena);
    const MatrixView middle(arena.take<float>(rows * dim), rows, dim);
    return {attention, middle, {arena.take<float>(rows * MlpType::hidden), rows, MlpType::hidden}};
  }
  static constexpr ScratchBytes training_scratch(Index images, MapSize map) {
    const Index part = std::min(images, part_images(images, map));
    ScratchBytes scratch = one_after_the_other(AttentionType::training_scratch(part, map),
                                               mlp_training_scratch<MlpType, Norm>(part * tokens(map)));
    scratch.shared += MlpType::transposed_bytes;
    return scratch;
  }

  /// result = block(stream) with masks, filling `saved`.
  void forward_saved(ConstMatrixView stream, const MapBatch& batch, const Saved& saved, MatrixView result,
                     Workspace& workspace, const BlockMasks& masks = {}) const {
    Base::each_part(batch, part_images(batch.images, batch.map), [&](Index first, Index count, const MapBatch& part) {
      const Saved own = saved.images_of(first / tokens(batch.map), part.images, batch.map);
      const BlockMasks own_masks = masks.from(first, dim);
      this->attend_saved(stream.rows_of(first, count), part, own.attention, own.middle, workspace, own_masks);
      add_mlp_saved(mlp_, this->norm2(), epsilon, nullptr, own.middle, own.hidden, result.rows_of(first, count),
                    workspace, own_masks);
    });
  }
  /// d_stream, the gradient of the result, becomes that of the stream; the weights' is added to grads. `saved` is used
  /// up; the masks are those of forward_saved().
  void backward(ConstMatrixView stream, const MapBatch& batch, const Saved& saved, DenseMapBlock& grads,
                MatrixView d_stream, Workspace& workspace, const BlockMasks& masks = {}) const {
    const Arena::Scope scope(workspace.shared());
    const typename MlpType::Transposed weights = mlp_.transposed(workspace);
    Base::each_part(batch, part_images(batch.images, batch.map), [&](Index first, Index count, const MapBatch& part) {
      const Saved own = saved.images_of(first / tokens(batch.map), part.images, batch.map);
      const BlockMasks own_masks = masks.from(first, dim);
      const MatrixView d = d_stream.rows_of(first, count);
      const MatrixView d_branch = Base::branch_gradient(d, own_masks.mlp, own_masks.room, workspace);
      add_mlp_gradient(weights, this->norm2(), epsilon, own.middle, own.hidden, d_branch, grads.mlp_, grads.norm2(), d,
                       workspace, own_masks.hidden);
      this->attend_backward(stream.rows_of(first, count), part, own.attention, grads, d, workspace, own_masks);
    });
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    DenseMapBlock::each_attention_parameter(self, prefix, visit);
    MlpType::each_parameter(self.mlp_, join_name(prefix, "mlp"), Role::mlp, visit);
  }

 private:
  static constexpr Index part_images(Index images, MapSize map) {
    return Base::images_per_part(images, map, 2 * MlpType::hidden + 4 * dim);
  }
  MlpType mlp_;
};

}  // namespace moevit
