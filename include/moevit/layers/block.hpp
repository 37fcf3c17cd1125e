/// A transformer block: norm, attention, +, norm, MLP or experts, +.
#pragma once

#include <moevit/layers/attention.hpp>
#include <moevit/layers/dense_mlp.hpp>

namespace moevit {

/// Rows that training passes take through the dense parts of a block at a time, whole images.
template <VitConfig config>
constexpr Index training_rows() {
  constexpr Index floats = std::max(9 * config.attention_width() + 3 * config.dim, 2 * config.hidden + 4 * config.dim);
  return round_up(rows_of_training_part(floats), config.tokens());
}

/// f(first row, rows) for nearly equal parts of a stream of `rows` rows, each of at most training_rows, one after the
/// other.
template <VitConfig config, class F>
void each_training_part(Index rows, F f) {
  constexpr Index tokens = config.tokens();
  each_part(rows / tokens, training_rows<config>() / tokens,
            [&](Index image, Index images) { f(image * tokens, images * tokens); });
}

/// What dense and sparse blocks have in common: the attention half, the norm before the second half, layer scales.
template <VitConfig config>
class BlockBase {
 public:
  BlockBase() : scale1_(scale_vector()), scale2_(scale_vector()) {}

  /// stream += [scale1 *] attention(norm1(stream)).
  void attend(MatrixView stream, Workspace& workspace) const {
    attention_.forward(norm1_, stream, config.tokens(), config.layer_scale ? scale1_.data() : nullptr, workspace);
  }
  const LayerNorm<config.dim>& norm2() const { return norm2_; }
  LayerNorm<config.dim>& norm2() { return norm2_; }
  const float* scale2() const { return config.layer_scale ? scale2_.data() : nullptr; }

  /// The attention half of a pass with backward(): middle = stream + [scale1 *] masked attention(norm1(stream)).
  void attend_saved(ConstMatrixView stream, const typename Attention<config>::Saved& saved, MatrixView middle,
                    Workspace& workspace, const BlockMasks& masks) const {
    attention_.forward_saved(norm1_, stream, config.tokens(), config.layer_scale ? scale1_.data() : nullptr, saved,
                             middle, workspace, masks.attention);
  }
  using AttentionWeights = typename Attention<config>::Transposed;
  /// What attend_backward() takes, in shared scratch of Attention<config>::transposed_bytes.
  AttentionWeights transposed_attention(Workspace& workspace) const { return attention_.transposed(workspace); }
  /// The gradient of the attention half: d_stream, that of `middle`, becomes that of the stream.
  void attend_backward(const AttentionWeights& weights, ConstMatrixView stream,
                       const typename Attention<config>::Saved& saved, BlockBase& grads, MatrixView d_stream,
                       Workspace& workspace, const BlockMasks& masks) const {
    const Arena::Scope scope(workspace.shared());
    const MatrixView d_branch = branch_gradient(
        d_stream, {scale1_, grads.scale1_, masks.attention, masks.room},
        [&](MatrixView y) { attention_.branch_of(saved, y, workspace); }, workspace);
    attention_.backward(weights, norm1_, stream, config.tokens(), saved, d_branch, grads.attention_, grads.norm1_,
                        d_stream, workspace);
  }
  /// Bytes of shared scratch of branch_gradient().
  static constexpr Index branch_bytes(Index rows) {
    return config.layer_scale ? arena_bytes<float>(rows * config.dim) : 0;
  }

 protected:
  /// What stands between a branch and the stream.
  struct BranchEnd {
    const AlignedBuffer<float>& scale;
    AlignedBuffer<float>& d_scale;
    const BranchMask& mask;
    float* room;  ///< see BlockMasks
  };
  /// The gradient of a branch behind mask and layer scale, whose own gradient is added: fill(y) gives the branch's
  /// output. Without either that is d_stream itself.
  template <class Fill>
  static MatrixView branch_gradient(MatrixView d_stream, const BranchEnd& end, Fill fill, Workspace& workspace) {
    const Index rows = d_stream.rows();
    const bool is_masked = end.mask.is_active();
    if constexpr (!config.layer_scale) {
      if (!is_masked) return d_stream;
      const MatrixView branch(end.room, rows, config.dim);
      mask_gradient(d_stream, end.mask, branch, workspace);
      return branch;
    } else {
      const MatrixView branch(workspace.shared().template take<float>(rows * config.dim), rows, config.dim);
      fill(branch);
      for (Index row = 0; row < rows; ++row) {  // one after the other, so that the sum has one order
        if (is_masked) end.mask.apply(row, branch.row_data(row), config.dim);
        for (Index i = 0; i < config.dim; ++i) {
          end.d_scale[i] += branch(row, i) * d_stream(row, i);
          branch(row, i) = end.scale[i] * d_stream(row, i);
        }
        if (is_masked) end.mask.apply(row, branch.row_data(row), config.dim);
      }
      return branch;
    }
  }
  AlignedBuffer<float>& scale2_vector() { return scale2_; }
  const AlignedBuffer<float>& scale2_vector() const { return scale2_; }

  template <class Self>
  static void each_attention_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    LayerNorm<config.dim>::each_parameter(self.norm1_, join_name(prefix, "norm1"), visit);
    Attention<config>::each_parameter(self.attention_, join_name(prefix, "attention"), visit);
    each_scale(self.scale1_, join_name(prefix, "scale1"), visit);
    LayerNorm<config.dim>::each_parameter(self.norm2_, join_name(prefix, "norm2"), visit);
    each_scale(self.scale2_, join_name(prefix, "scale2"), visit);
  }

 private:
  static AlignedBuffer<float> scale_vector() {
    if (!config.layer_scale) return {};
    AlignedBuffer<float> scale = padded_vector(config.dim);
    std::fill_n(scale.data(), config.dim, 1.f);
    return scale;
  }
  template <class Buffer>
  static void each_scale(Buffer& scale, const std::string& name, const ParameterVisitor<Buffer>& visit) {
    if constexpr (config.layer_scale)
      visit(plain_parameter<ParameterValue<Buffer>>(name, scale.data(), {config.dim}, Role::norm));
  }

  LayerNorm<config.dim> norm1_;
  Attention<config> attention_;
  AlignedBuffer<float> scale1_;
  LayerNorm<config.dim> norm2_;
  AlignedBuffer<float> scale2_;
};

/// A block with a dense MLP.
template <VitConfig config>
class DenseBlock : public BlockBase<config> {
  using MlpType = ConfiguredMlp<config>;

 public:
  static constexpr ScratchBytes scratch(Index images) {
    return one_after_the_other(Attention<config>::scratch(images, config.tokens()),
                               {0, dense_mlp_worker_bytes<MlpType>(images * config.tokens())});
  }

  void forward(MatrixView stream, Workspace& workspace) const {
    this->attend(stream, workspace);
    add_mlp(mlp_, this->norm2(), config.epsilon, this->scale2(), stream, workspace);
  }

  /// What backward() needs of a pass over `rows` rows.
  struct Saved {
    typename Attention<config>::Saved attention;
    MatrixView middle;  ///< the stream between the halves
    MatrixView hidden;  ///< of the MLP, before the activation

    Saved rows_of(Index first, Index count) const {
      return {attention.rows_of(first, count), middle.rows_of(first, count), hidden.rows_of(first, count)};
    }
  };
  static constexpr Index saved_bytes(Index rows) {
    return Attention<config>::saved_bytes(rows) + arena_bytes<float>(rows * config.dim) +
           arena_bytes<float>(rows * MlpType::hidden);
  }
  static Saved take_saved(Index rows, Arena& arena) {
    return {Attention<config>::take_saved(rows, arena),
            {arena.take<float>(rows * config.dim), rows, config.dim},
            {arena.take<float>(rows * MlpType::hidden), rows, MlpType::hidden}};
  }
  static constexpr ScratchBytes training_scratch(Index images) {
    const Index rows = std::min(images * config.tokens(), training_rows<config>());
    ScratchBytes scratch =
        one_after_the_other(Attention<config>::training_scratch(rows / config.tokens(), config.tokens()),
                            mlp_training_scratch<MlpType, LayerNorm<config.dim>>(rows));
    scratch.shared += DenseBlock::branch_bytes(rows) + MlpType::transposed_bytes + Attention<config>::transposed_bytes;
    return scratch;
  }

  /// result = block(stream) with masks, filling `saved`.
  void forward_saved(ConstMatrixView stream, const Saved& saved, MatrixView result, Workspace& workspace,
                     const BlockMasks& masks = {}) const {
    each_training_part<config>(stream.rows(), [&](Index first, Index count) {
      const Saved part = saved.rows_of(first, count);
      const BlockMasks own = masks.from(first, config.dim);
      this->attend_saved(stream.rows_of(first, count), part.attention, part.middle, workspace, own);
      add_mlp_saved(mlp_, this->norm2(), config.epsilon, this->scale2(), part.middle, part.hidden,
                    result.rows_of(first, count), workspace, own);
    });
  }
  /// d_stream, the gradient of the result, becomes that of the stream; the weights' is added to grads. `saved` is used
  /// up; the masks are those of forward_saved().
  void backward(ConstMatrixView stream, const Saved& saved, DenseBlock& grads, MatrixView d_stream,
                Workspace& workspace, const BlockMasks& masks = {}) const {
    const Arena::Scope scope(workspace.shared());
    const Weights weights{mlp_.transposed(workspace), this->transposed_attention(workspace)};
    each_training_part<config>(stream.rows(), [&](Index first, Index count) {
      part_backward(weights, stream.rows_of(first, count), saved.rows_of(first, count), grads,
                    d_stream.rows_of(first, count), workspace, masks.from(first, config.dim));
    });
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    DenseBlock::each_attention_parameter(self, prefix, visit);
    MlpType::each_parameter(self.mlp_, join_name(prefix, "mlp"), Role::mlp, visit);
  }

 private:
  /// The weights of the block, transposed.
  struct Weights {
    typename MlpType::Transposed mlp;
    typename Attention<config>::Transposed attention;
  };
  void part_backward(const Weights& weights, ConstMatrixView stream, const Saved& saved, DenseBlock& grads,
                     MatrixView d_stream, Workspace& workspace, const BlockMasks& masks) const {
    {
      const Arena::Scope scope(workspace.shared());
      const auto fill = [&](MatrixView branch) { mlp_.rows_from_saved(saved.hidden, branch, workspace, masks.hidden); };
      const MatrixView d_branch = this->branch_gradient(
          d_stream, {this->scale2_vector(), grads.scale2_vector(), masks.mlp, masks.room}, fill, workspace);
      add_mlp_gradient(weights.mlp, this->norm2(), config.epsilon, saved.middle, saved.hidden, d_branch, grads.mlp_,
                       grads.norm2(), d_stream, workspace, masks.hidden);
    }
    this->attend_backward(weights.attention, stream, saved.attention, grads, d_stream, workspace, masks);
  }

  MlpType mlp_;
};

}  // namespace moevit
