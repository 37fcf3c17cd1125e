/// A transformer block: norm, attention, +, norm, MLP or experts, +.
#pragma once

#include <moevit/layers/attention.hpp>
#include <moevit/layers/dense_mlp.hpp>

namespace moevit {

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
  const float* scale2() const { return config.layer_scale ? scale2_.data() : nullptr; }

 protected:
  template <class Self, class Visit>
  static void each_attention_parameter(Self& self, const std::string& prefix, Visit&& visit) {
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
  template <class Buffer, class Visit>
  static void each_scale(Buffer& scale, const std::string& name, Visit&& visit) {
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

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    DenseBlock::each_attention_parameter(self, prefix, visit);
    MlpType::each_parameter(self.mlp_, join_name(prefix, "mlp"), Role::mlp, visit);
  }

 private:
  MlpType mlp_;
};

}  // namespace moevit
