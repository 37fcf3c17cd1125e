/// A block whose MLP is replaced by experts.
#pragma once

#include <moevit/layers/block.hpp>
#include <moevit/moe/soft_mlp.hpp>
#include <moevit/moe/sparse_mlp.hpp>

namespace moevit {

/// norm, attention, +, norm, experts, +. `Sparse` is a SparseMlp or a SoftMlp. The router sees the normalised tokens,
/// as the experts do.
template <VitConfig config, class Sparse>
class SparseBlock : public BlockBase<config> {
  static_assert(Sparse::dim == config.dim, "SparseBlock: the experts must have the model's width dim");

 public:
  void forward(MatrixView stream, Index images, Index copies, int block, Context& context) const {
    Workspace& workspace = context.workspace();
    this->attend(stream, workspace);
    const Arena::Scope scope(workspace.shared());
    const MatrixView normed = normed_rows(stream, workspace);
    sparse_.forward({normed, stream, this->scale2(), images, config.tokens(), copies, block}, context);
  }

  /// What backward() needs of a pass.
  struct Saved {
    typename Attention<config>::Saved attention;
    MatrixView middle;  ///< the stream between the halves
    typename Sparse::Saved sparse;
  };
  /// `images` images, each Sparse::copies times.
  static Saved take_saved(const RoutingOptions& options, Index images, Arena& arena) {
    const Index rows = images * Sparse::copies * config.tokens();
    const auto attention = Attention<config>::take_saved(rows, arena);
    const MatrixView middle(arena.take<float>(rows * config.dim), rows, config.dim);
    return {attention, middle, Sparse::take_saved(options, images, config.tokens(), arena)};
  }
  static constexpr Index saved_bytes(const RoutingOptions& options, Index images) {
    const Index rows = images * Sparse::copies * config.tokens();
    return Attention<config>::saved_bytes(rows) + arena_bytes<float>(rows * config.dim) +
           Sparse::saved_bytes(options, images, config.tokens());
  }
  static constexpr ScratchBytes training_scratch(const RoutingOptions& options, Index images) {
    const Index copies = images * Sparse::copies, rows = copies * config.tokens();
    ScratchBytes sparse = Sparse::training_scratch(options, images, config.tokens());
    sparse.shared += 2 * arena_bytes<float>(rows * config.dim) + LayerNorm<config.dim>::backward_bytes(rows);
    const Index part = std::min(rows, training_rows<config>());
    ScratchBytes attention = Attention<config>::training_scratch(part / config.tokens(), config.tokens());
    attention.shared += SparseBlock::branch_bytes(part) + Attention<config>::transposed_bytes;
    sparse.shared += SparseBlock::branch_bytes(rows);
    return one_after_the_other(attention, sparse);
  }

  /// result = block(stream) with masks, filling `saved`; see SparseMlp::forward_saved.
  void forward_saved(ConstMatrixView stream, Index images, Index copies, int block, const Saved& saved, bool routed,
                     MatrixView result, Context& context, const BlockMasks& masks = {}) const {
    Workspace& workspace = context.workspace();
    each_training_part<config>(stream.rows(), [&](Index first, Index count) {
      this->attend_saved(stream.rows_of(first, count), saved.attention.rows_of(first, count),
                         saved.middle.rows_of(first, count), workspace, masks.from(first, config.dim));
    });
    const Arena::Scope scope(workspace.shared());
    const MatrixView normed = normed_rows(saved.middle, workspace);
    const bool is_masked = masks.mlp.is_active();
    workspace.parallel_rows(result.rows(), 256, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        if (is_masked)
          std::fill_n(result.row_data(row), config.dim, 0.f);
        else
          std::copy_n(saved.middle.row_data(row), config.dim, result.row_data(row));
    });
    sparse_.forward_saved(
        {normed, result, is_masked ? nullptr : this->scale2(), images, config.tokens(), copies, block, masks.experts},
        saved.sparse, routed, context);
    if (!is_masked) return;
    workspace.parallel_rows(result.rows(), 256, [&](Index first, Index count, Arena&) {
      add_masked_branch(saved.middle.rows_of(first, count), this->scale2(), masks.mlp.from(first),
                        result.rows_of(first, count));
    });
  }
  /// d_stream, the gradient of the result, becomes that of the stream; the weights' is added to grads, that of a plan
  /// made outside to `plan`. `saved` is used up; the masks are those of forward_saved().
  void backward(ConstMatrixView stream, Index images, Index copies, int block, const Saved& saved, SparseBlock& grads,
                PlanGradient& plan, const AddLossGradient& add_losses, MatrixView d_stream, Context& context,
                const BlockMasks& masks = {}) const {
    Workspace& workspace = context.workspace();
    {
      const Arena::Scope scope(workspace.shared());
      const MatrixView d_branch = this->branch_gradient(
          d_stream, {this->scale2_vector(), grads.scale2_vector(), masks.mlp, masks.room},
          [&](MatrixView branch) {
            std::fill_n(branch.data(), branch.size(), 0.f);
            Sparse::branch_of(block, saved.sparse, branch, context);
          },
          workspace);
      const MatrixView normed = normed_rows(saved.middle, workspace);
      const MatrixView d_normed(workspace.shared().template take<float>(normed.size()), normed.rows(), config.dim);
      workspace.parallel_rows(d_normed.rows(), 256, [&](Index first, Index count, Arena&) {
        std::fill_n(d_normed.row_data(first), count * config.dim, 0.f);
      });
      sparse_.backward({normed, normed, nullptr, images, config.tokens(), copies, block, masks.experts}, saved.sparse,
                       d_branch, grads.sparse_, plan, add_losses, d_normed, context);
      this->norm2().backward(saved.middle, d_normed, grads.norm2(), d_stream, config.epsilon, workspace);
    }
    const Arena::Scope scope(workspace.shared());
    const auto weights = this->transposed_attention(workspace);
    each_training_part<config>(stream.rows(), [&](Index first, Index count) {
      this->attend_backward(weights, stream.rows_of(first, count), saved.attention.rows_of(first, count), grads,
                            d_stream.rows_of(first, count), workspace, masks.from(first, config.dim));
    });
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    SparseBlock::each_attention_parameter(self, prefix, visit);
    Sparse::each_parameter(self.sparse_, join_name(prefix, "moe"), visit);
  }

 private:
  /// norm2 of all rows, in shared scratch.
  MatrixView normed_rows(ConstMatrixView stream, Workspace& workspace) const {
    const MatrixView normed(workspace.shared().take<float>(stream.rows() * config.dim), stream.rows(), config.dim);
    workspace.parallel_rows(stream.rows(), 256, [&](Index first, Index count, Arena&) {
      this->norm2().forward(stream.rows_of(first, count), normed.rows_of(first, count), config.epsilon);
    });
    return normed;
  }

  Sparse sparse_;
};

}  // namespace moevit
