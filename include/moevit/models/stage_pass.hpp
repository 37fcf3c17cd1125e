/// Training passes of one stage of a hierarchical model.
#pragma once

#include <moevit/models/drop.hpp>
#include <moevit/models/stage.hpp>

#include <functional>
#include <vector>

namespace moevit {

/// What the stages of a training pass have in common.
struct PassOfStages {
  Context& context;
  const Drop& drop;
  Index depth = 0;  ///< blocks of the model
  bool checkpoint = false;
  PlanGradient& plan;  ///< room for the gradient of one plan at a time
  const std::function<void(int block, const Routing& routing, MatrixView d_logits)>& add_losses;
};

/// What one stage keeps of a pass for its backward pass.
template <class Family, Index number>
class StagePass {
  using Type = Stage<Family, number>;
  using Embedding = typename Type::EmbeddingType;
  using DenseType = typename Type::DenseBlockType;
  using SparseType = typename Type::SparseBlockType;
  static constexpr Index dim = Type::dim;
  /// Floats of the statistics over the batch that the attention of a block takes.
  static constexpr Index statistics_size = [] {
    if constexpr (requires { Type::AttentionType::statistics_size; }) return Type::AttentionType::statistics_size;
    return Index{0};
  }();
  template <bool is_any>
  struct SavedOfSparse {
    using type = Nothing;
  };
  template <bool is_any>
  requires(is_any) struct SavedOfSparse<is_any> {
    using type = typename SparseType::Saved;
  };

 public:
  StagePass() {
    streams_.reserve(static_cast<std::size_t>(Type::depth + 1));
    dense_.reserve(static_cast<std::size_t>(Type::dense_blocks));
    sparse_.reserve(static_cast<std::size_t>(Type::sparse_blocks));
  }

  /// Bytes of what is kept for `images` images whose map before this stage is `input`.
  static constexpr Index saved_bytes(const RoutingOptions& options, Index images, MapSize input, bool checkpoint) {
    const MapSize map = Type::map_of(input);
    Index bytes = (Type::depth + 2) * arena_bytes<float>(images * Type::tokens(map) * dim) +
                  arena_bytes<float>(Type::depth * statistics_size);
    if constexpr (Type::dense_blocks > 0)
      bytes += sets(Type::dense_blocks, checkpoint) * DenseType::saved_bytes(images, map);
    if constexpr (Type::sparse_blocks > 0)
      bytes += sets(Type::sparse_blocks, checkpoint) * SparseType::saved_bytes(options, images, map);
    return bytes;
  }
  /// Takes it; views of an earlier pass are forgotten.
  void take_saved(const RoutingOptions& options, Index images, MapSize input, bool checkpoint, Arena& arena) {
    images_ = images, input_ = input, map_ = Type::map_of(input);
    const Index values = images * Type::tokens(map_) * dim;
    streams_.clear(), dense_.clear(), sparse_.clear();
    for (Index i = 0; i <= Type::depth; ++i) streams_.push_back(arena.take<float>(values));
    d_stream_ = arena.take<float>(values);
    statistics_ = arena.take<float>(Type::depth * statistics_size);
    for (Index i = 0; i < sets(Type::dense_blocks, checkpoint); ++i)
      dense_.push_back(DenseType::take_saved(images, map_, arena));
    if constexpr (Type::sparse_blocks > 0)
      for (Index i = 0; i < sets(Type::sparse_blocks, checkpoint); ++i)
        sparse_.push_back(SparseType::take_saved(options, images, map_, arena));
  }
  /// Scratch of the passes beside that.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize input) {
    const MapSize map = Type::map_of(input);
    const Index part = std::min(images, embedding_images(map));
    ScratchBytes bytes =
        one_after_the_other(Embedding::scratch(images, input), Embedding::training_scratch(part, input));
    if constexpr (Type::dense_blocks > 0) bytes = one_after_the_other(bytes, DenseType::training_scratch(images, map));
    if constexpr (Type::sparse_blocks > 0)
      bytes = one_after_the_other(bytes, SparseType::training_scratch(options, images, map));
    return bytes;
  }

  MapSize map() const { return map_; }
  /// The stream behind the stage, and its gradient.
  MatrixView output() const { return stream(Type::depth); }
  MatrixView d_output() const { return {d_stream_, rows(), dim}; }

  /// From maps x before the stage to output().
  void forward(const Type& stage, ConstMatrixView x, const PassOfStages& pass) {
    stage.embedding().forward(x, input_, images_, stream(0), pass.context.workspace());
    mask_embedding(stream(0), pass);
    if (pass.context.observer) pass.context.observer->stage_input(static_cast<int>(number), stream(0));
    for (Index block = 0; block < Type::depth; ++block) {
      forward_block(stage, block, false, pass);
      // Statistics outlive what is saved of a block, whose room others may use again.
      if constexpr (statistics_size > 0)
        Type::AttentionType::copy_statistics(saved_attention(block, pass), statistics_of(block));
      if (pass.context.observer) pass.context.observer->block_output(overall(block), stream(block + 1));
    }
  }
  /// Lets running statistics of the stage follow those of the last forward().
  void follow_statistics(Type& stage, float momentum) const {
    if constexpr (statistics_size > 0)
      for (Index block = 0; block < Type::depth; ++block)
        stage.attention(block).follow(statistics_of(block), images_, map_, momentum);
  }
  /// From d_output(), which is used up: adds to grads and assigns d_x unless it has no rows.
  void backward(const Type& stage, ConstMatrixView x, Type& grads, MatrixView d_x, const PassOfStages& pass) {
    for (Index block = Type::depth - 1; block >= 0; --block) {
      if (pass.checkpoint) forward_block(stage, block, true, pass);
      backward_block(stage, block, grads, pass);
    }
    mask_embedding(d_output(), pass);
    const Index before = input_.places(), behind = Type::tokens(map_);
    each_part(images_, embedding_images(map_), [&](Index first, Index count) {
      const MatrixView d_part = d_x.rows() ? d_x.rows_of(first * before, count * before) : d_x;
      stage.embedding().backward(x.rows_of(first * before, count * before), input_, count,
                                 d_output().rows_of(first * behind, count * behind), grads.embedding(), d_part,
                                 pass.context.workspace());
    });
  }

 private:
  static constexpr Index sets(Index blocks, bool checkpoint) {
    return checkpoint ? std::min<Index>(blocks, 1) : blocks;
  }
  /// Images that the backward pass of the embedding takes at a time.
  static constexpr Index embedding_images(MapSize map) { return images_of_training_part(8 * dim, Type::tokens(map)); }

  Index rows() const { return images_ * Type::tokens(map_); }
  MatrixView stream(Index block) const { return {streams_[static_cast<std::size_t>(block)], rows(), dim}; }
  MapBatch batch(Index block) const { return {images_, map_, block}; }
  static int overall(Index block) { return static_cast<int>(Type::first_block + block); }
  template <class List>
  static auto& saved_of(List& list, Index block, const PassOfStages& pass) {
    return list[pass.checkpoint ? 0 : Type::place_of(block)];
  }

  void mask_embedding(MatrixView all, const PassOfStages& pass) const {
    const ElementMask mask = number == 0 ? pass.drop.embedding() : ElementMask();
    if (!mask.is_active()) return;
    pass.context.workspace().parallel_rows(all.rows(), 256, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) mask.apply(row, all.row_data(row), dim);
    });
  }
  /// The stream behind a block is not needed any more when the block goes back, so it lends its room.
  BlockMasks masks_of(Index block, const PassOfStages& pass) const {
    BlockMasks masks = pass.drop.block(overall(block), pass.depth, Type::tokens(map_), Type::is_sparse(block));
    masks.room = streams_[static_cast<std::size_t>(block) + 1];
    return masks;
  }

  float* statistics_of(Index block) const { return statistics_ + block * statistics_size; }
  const typename Type::AttentionType::Saved& saved_attention(Index block, const PassOfStages& pass) const {
    if constexpr (Type::dense_blocks == 0)
      return saved_of(sparse_, block, pass).attention;
    else if constexpr (Type::sparse_blocks == 0)
      return saved_of(dense_, block, pass).attention;
    else
      return Type::is_sparse(block) ? saved_of(sparse_, block, pass).attention
                                    : saved_of(dense_, block, pass).attention;
  }

  void forward_block(const Type& stage, Index block, bool again, const PassOfStages& pass) {
    if constexpr (Type::sparse_blocks > 0)
      if (Type::is_sparse(block))
        return stage.sparse(block).forward_saved(stream(block), batch(block), overall(block),
                                                 saved_of(sparse_, block, pass), again, stream(block + 1), pass.context,
                                                 masks_of(block, pass));
    if constexpr (Type::dense_blocks > 0)
      stage.dense(block).forward_saved(stream(block), batch(block), saved_of(dense_, block, pass), stream(block + 1),
                                       pass.context.workspace(), masks_of(block, pass));
  }
  void backward_block(const Type& stage, Index block, Type& grads, const PassOfStages& pass) {
    if constexpr (Type::sparse_blocks > 0)
      if (Type::is_sparse(block)) {
        AddLossGradient losses;
        if (pass.add_losses)
          losses = [&](const Routing& routing, MatrixView d) { pass.add_losses(overall(block), routing, d); };
        return stage.sparse(block).backward(stream(block), batch(block), overall(block), saved_of(sparse_, block, pass),
                                            grads.sparse(block), pass.plan, losses, d_output(), pass.context,
                                            masks_of(block, pass));
      }
    if constexpr (Type::dense_blocks > 0)
      stage.dense(block).backward(stream(block), batch(block), saved_of(dense_, block, pass), grads.dense(block),
                                  d_output(), pass.context.workspace(), masks_of(block, pass));
  }

  Index images_ = 0;
  MapSize input_, map_;
  std::vector<float*> streams_;  ///< depth + 1
  float* d_stream_ = nullptr;
  float* statistics_ = nullptr;  ///< of the blocks, one after the other
  std::vector<typename DenseType::Saved> dense_;
  std::vector<typename SavedOfSparse<(Type::sparse_blocks > 0)>::type> sparse_;
};

}  // namespace moevit
