/// A block whose MLP is replaced by experts.
#pragma once

#include <moevit/layers/block.hpp>
#include <moevit/moe/expert_branch.hpp>
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
    const MatrixView normed = normed_rows(this->norm2(), config.epsilon, stream, workspace);
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
    const MatrixView normed = normed_rows(this->norm2(), config.epsilon, saved.middle, workspace);
    begin_expert_branch(saved.middle, masks.mlp, result, workspace);
    const float* const scale = masks.mlp.is_active() ? nullptr : this->scale2();
    sparse_.forward_saved({normed, result, scale, images, config.tokens(), copies, block, masks.experts}, saved.sparse,
                          routed, context);
    end_expert_branch(saved.middle, this->scale2(), masks.mlp, result, workspace);
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
      const MatrixView normed = normed_rows(this->norm2(), config.epsilon, saved.middle, workspace);
      const MatrixView d_normed = zero_rows(normed.rows(), config.dim, workspace);
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
  Sparse sparse_;
};

}  // namespace moevit
