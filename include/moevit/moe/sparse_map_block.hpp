/// A block of maps whose MLP is replaced by experts.
#pragma once

#include <moevit/layers/map_block.hpp>
#include <moevit/moe/expert_branch.hpp>
#include <moevit/moe/sparse_mlp.hpp>

namespace moevit {

/// norm, attention over a map, +, norm, experts, +. `Sparse` is a SparseMlp with a router in the block. The router sees
/// the normalised tokens, as the experts do. `number` is that of the block in the whole model.
template <class AttentionType, class Sparse>
class SparseMapBlock : public MapBlockBase<AttentionType> {
  using Base = MapBlockBase<AttentionType>;
  static_assert(Sparse::dim == Base::dim, "SparseMapBlock: the experts must have the width of their stage");
  static_assert(Sparse::scope == RouterScope::block && Sparse::copies == 1,
                "SparseMapBlock: expected a router in every block, and no ensemble");

 public:
  using Base::dim;
  using Base::epsilon;
  using Base::tokens;
  static constexpr bool is_trainable = Sparse::is_trainable;

  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize map) {
    ScratchBytes sparse = Sparse::scratch(options, images, tokens(map));
    sparse.shared += arena_bytes<float>(images * tokens(map) * dim);  // the normalised tokens
    return one_after_the_other(sparse, AttentionType::scratch(images, map));
  }
  void forward(MatrixView stream, const MapBatch& batch, int number, Context& context) const {
    Workspace& workspace = context.workspace();
    this->attend(stream, batch, workspace);
    const Arena::Scope scope(workspace.shared());
    sparse_.forward(rows_for(normed_rows(this->norm2(), epsilon, stream, workspace), stream, batch, number), context);
  }

  /// What backward() needs of a pass.
  struct Saved {
    typename AttentionType::Saved attention;
    MatrixView middle;  ///< the stream between the halves
    typename Sparse::Saved sparse;

    /// Of a pass over fewer images than there is room for; what experts saved has as many rows as the plan.
    Saved images_of(Index first, Index count, MapSize map) const {
      return {attention.images_of(first, count, map), middle.rows_of(first * tokens(map), count * tokens(map)), sparse};
    }
  };
  static constexpr Index saved_bytes(const RoutingOptions& options, Index images, MapSize map) {
    return AttentionType::saved_bytes(images, map) + arena_bytes<float>(images * tokens(map) * dim) +
           Sparse::saved_bytes(options, images, tokens(map));
  }
  static Saved take_saved(const RoutingOptions& options, Index images, MapSize map, Arena& arena) {
    const Index rows = images * tokens(map);
    const auto attention = AttentionType::take_saved(images, map, arena);
    const MatrixView middle(arena.take<float>(rows * dim), rows, dim);
    return {attention, middle, Sparse::take_saved(options, images, tokens(map), arena)};
  }
  static constexpr ScratchBytes training_scratch(const RoutingOptions& options, Index images, MapSize map) {
    const Index rows = images * tokens(map);
    ScratchBytes sparse = Sparse::training_scratch(options, images, tokens(map));
    sparse.shared += 2 * arena_bytes<float>(rows * dim) + LayerNorm<dim>::backward_bytes(rows);
    return one_after_the_other(sparse,
                               AttentionType::training_scratch(std::min(images, part_images(images, map)), map));
  }

  /// result = block(stream) with masks, filling `saved`; see SparseMlp::forward_saved.
  void forward_saved(ConstMatrixView stream, const MapBatch& batch, int number, const Saved& saved, bool routed,
                     MatrixView result, Context& context, const BlockMasks& masks = {}) const {
    Workspace& workspace = context.workspace();
    Base::each_part(batch, part_images(batch.images, batch.map), [&](Index first, Index count, const MapBatch& part) {
      this->attend_saved(stream.rows_of(first, count), part, attention_of(saved, first, part),
                         saved.middle.rows_of(first, count), workspace, masks.from(first, dim));
    });
    const Arena::Scope scope(workspace.shared());
    const MatrixView normed = normed_rows(this->norm2(), epsilon, saved.middle, workspace);
    begin_expert_branch(saved.middle, masks.mlp, result, workspace);
    BlockRows rows = rows_for(normed, result, batch, number);
    rows.masks = masks.experts;
    sparse_.forward_saved(rows, saved.sparse, routed, context);
    end_expert_branch(saved.middle, nullptr, masks.mlp, result, workspace);
  }
  /// d_stream, the gradient of the result, becomes that of the stream; the weights' is added to grads. `saved` is used
  /// up; the masks are those of forward_saved().
  void backward(ConstMatrixView stream, const MapBatch& batch, int number, const Saved& saved, SparseMapBlock& grads,
                PlanGradient& plan, const AddLossGradient& add_losses, MatrixView d_stream, Context& context,
                const BlockMasks& masks = {}) const {
    Workspace& workspace = context.workspace();
    {
      const Arena::Scope scope(workspace.shared());
      const MatrixView d_branch = Base::branch_gradient(d_stream, masks.mlp, masks.room, workspace);
      const MatrixView normed = normed_rows(this->norm2(), epsilon, saved.middle, workspace);
      const MatrixView d_normed = zero_rows(normed.rows(), dim, workspace);
      BlockRows rows = rows_for(normed, normed, batch, number);
      rows.masks = masks.experts;
      sparse_.backward(rows, saved.sparse, d_branch, grads.sparse_, plan, add_losses, d_normed, context);
      this->norm2().backward(saved.middle, d_normed, grads.norm2(), d_stream, epsilon, workspace);
    }
    Base::each_part(batch, part_images(batch.images, batch.map), [&](Index first, Index count, const MapBatch& part) {
      this->attend_backward(stream.rows_of(first, count), part, attention_of(saved, first, part), grads,
                            d_stream.rows_of(first, count), workspace, masks.from(first, dim));
    });
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    SparseMapBlock::each_attention_parameter(self, prefix, visit);
    Sparse::each_parameter(self.sparse_, join_name(prefix, "moe"), visit);
  }

 private:
  static constexpr Index part_images(Index images, MapSize map) { return Base::images_per_part(images, map, 0); }
  static typename AttentionType::Saved attention_of(const Saved& saved, Index first_row, const MapBatch& part) {
    return saved.attention.images_of(first_row / tokens(part.map), part.images, part.map);
  }
  static BlockRows rows_for(ConstMatrixView x, MatrixView stream, const MapBatch& batch, int number) {
    return {x, stream, nullptr, batch.images, tokens(batch.map), 1, number};
  }

  Sparse sparse_;
};

}  // namespace moevit
