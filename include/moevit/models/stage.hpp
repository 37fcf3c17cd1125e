/// One stage of a hierarchical model: an embedding that makes its map, and blocks.
#pragma once

#include <moevit/moe/sparse_map_block.hpp>

#include <string>
#include <utility>
#include <vector>

namespace moevit {

/// Stage `number` of a family of hierarchical models (see HierarchicalTransformer).
template <class Family, Index number>
class Stage {
 public:
  using EmbeddingType = typename Family::template Embedding<number>;
  using AttentionType = typename Family::template Attention<number>;
  using DenseBlockType = DenseMapBlock<AttentionType, typename Family::template MlpOf<number>>;

  static constexpr Index depth = Family::depth(number);
  /// Number of its first block in the whole model.
  static constexpr Index first_block = Family::first_block(number);
  static constexpr Index dim = AttentionType::dim;

  /// Whether block `block` of this stage is sparse.
  static constexpr bool is_sparse(Index block) {
    return Family::moe.placement.contains(first_block + block, Family::first_block(Family::stages));
  }
  static constexpr Index sparse_blocks = [] {
    Index count = 0;
    for (Index block = 0; block < depth; ++block) count += is_sparse(block);
    return count;
  }();
  static constexpr Index dense_blocks = depth - sparse_blocks;

 private:
  template <bool is_any>
  struct SparseTypes {
    using Block = Nothing;
    using Sparse = Nothing;
    static constexpr bool is_trainable = true;
  };
  template <bool is_any>
  requires(is_any) struct SparseTypes<is_any> {
    using Sparse = typename Family::template Sparse<number>;
    using Block = SparseMapBlock<AttentionType, Sparse>;
    static constexpr bool is_trainable = Sparse::is_trainable;
  };

 public:
  using SparseBlockType = typename SparseTypes<(sparse_blocks > 0)>::Block;
  using Sparse = typename SparseTypes<(sparse_blocks > 0)>::Sparse;
  static constexpr bool is_trainable = SparseTypes<(sparse_blocks > 0)>::is_trainable;
  static_assert(EmbeddingType::output_width == dim, "Stage: embedding and attention must have the same width");

  /// The place of a block of this stage among those of its kind.
  static constexpr std::size_t place_of(Index block) {
    std::size_t place = 0;
    for (Index i = 0; i < block; ++i) place += is_sparse(i) == is_sparse(block);
    return place;
  }
  static constexpr MapSize map_of(MapSize input) { return EmbeddingType::result_size(input); }
  /// Rows of one image in the stream.
  static constexpr Index tokens(MapSize map) { return DenseBlockType::tokens(map); }

  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize input) {
    const MapSize map = map_of(input);
    ScratchBytes bytes = EmbeddingType::scratch(images, input);
    if constexpr (dense_blocks > 0) bytes = one_after_the_other(bytes, DenseBlockType::scratch(images, map));
    if constexpr (sparse_blocks > 0) bytes = one_after_the_other(bytes, SparseBlockType::scratch(options, images, map));
    return bytes;
  }

  /// stream = blocks(embedding(x)), x: maps of `input`.
  void forward(ConstMatrixView x, MapSize input, Index images, MatrixView stream, Context& context) const {
    embedding_.forward(x, input, images, stream, context.workspace());
    if (context.observer) context.observer->stage_input(static_cast<int>(number), stream);
    for (Index block = 0; block < depth; ++block) {
      const MapBatch batch{images, map_of(input), block};
      const int overall = static_cast<int>(first_block + block);
      if constexpr (sparse_blocks > 0)
        if (is_sparse(block)) sparse_[place_of(block)].forward(stream, batch, overall, context);
      if constexpr (dense_blocks > 0)
        if (!is_sparse(block)) dense_[place_of(block)].forward(stream, batch, context.workspace());
      if (context.observer) context.observer->block_output(overall, stream);
    }
  }

  const EmbeddingType& embedding() const { return embedding_; }
  EmbeddingType& embedding() { return embedding_; }
  const DenseBlockType& dense(Index block) const { return dense_[place_of(block)]; }
  DenseBlockType& dense(Index block) { return dense_[place_of(block)]; }
  const SparseBlockType& sparse(Index block) const { return sparse_[place_of(block)]; }
  SparseBlockType& sparse(Index block) { return sparse_[place_of(block)]; }
  AttentionType& attention(Index block) {
    if constexpr (dense_blocks == 0)
      return sparse(block).attention();
    else if constexpr (sparse_blocks == 0)
      return dense(block).attention();
    else
      return is_sparse(block) ? sparse(block).attention() : dense(block).attention();
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    EmbeddingType::each_parameter(self.embedding_, join_name(prefix, "embedding"), visit);
    for (Index block = 0; block < depth; ++block) {
      const std::string name = join_name(prefix, numbered_name("blocks.", static_cast<std::size_t>(block)));
      if constexpr (sparse_blocks > 0)
        if (is_sparse(block)) SparseBlockType::each_parameter(self.sparse_[place_of(block)], name, visit);
      if constexpr (dense_blocks > 0)
        if (!is_sparse(block)) DenseBlockType::each_parameter(self.dense_[place_of(block)], name, visit);
    }
  }

 private:
  EmbeddingType embedding_;
  std::vector<DenseBlockType> dense_{static_cast<std::size_t>(dense_blocks)};
  std::vector<SparseBlockType> sparse_{static_cast<std::size_t>(sparse_blocks)};
};

}  // namespace moevit
