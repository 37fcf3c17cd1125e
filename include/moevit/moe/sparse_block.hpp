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
    const MatrixView normed(workspace.shared().take<float>(stream.rows() * config.dim), stream.rows(), config.dim);
    workspace.parallel_rows(stream.rows(), 256, [&](Index first, Index count, Arena&) {
      this->norm2().forward(stream.rows_of(first, count), normed.rows_of(first, count), config.epsilon);
    });
    sparse_.forward({normed, stream, this->scale2(), images, config.tokens(), copies, block}, context);
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    SparseBlock::each_attention_parameter(self, prefix, visit);
    Sparse::each_parameter(self.sparse_, join_name(prefix, "moe"), visit);
  }

 private:
  Sparse sparse_;
};

}  // namespace moevit
