/// From tokens to logits: final norm, pooling, optional tanh layer, classifier.
#pragma once

#include <moevit/layers/attention.hpp>
#include <moevit/layers/dense_mlp.hpp>

#include <cmath>

namespace moevit {

/// Attention pooling with a learned probe: z = attention(probe, tokens), z + mlp(norm(z)). Source: Zhai et al. 2022, as
/// V-MoE has it.
template <VitConfig config>
class MapHead {
  using MlpType = ConfiguredMlp<config>;
  static constexpr Index tokens = config.tokens();

 public:
  MapHead() : probe_(padded_vector(config.dim)) {}

  static constexpr Index scratch_bytes() {
    return std::max(Attention<config>::pool_bytes(tokens), arena_bytes<float>(config.dim) + MlpType::scratch_bytes(1));
  }

  /// result[D] = pooled tokens of one image (T x D, normalised).
  void forward(ConstMatrixView x, float* result, Arena& arena) const {
    attention_.pool(probe_.data(), x, result, arena);
    float* normed = arena.take<float>(config.dim);
    norm_.forward_row(result, normed, config.epsilon);
    mlp_.forward({normed, 1, config.dim}, {result, 1, config.dim}, arena,
                 {.residual = result, .residual_stride = config.dim});
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, const std::string& prefix, Visit&& visit) {
    visit(plain_parameter<ParameterValue<Self>>(join_name(prefix, "probe"), self.probe_.data(), {config.dim},
                                                Role::head));
    Attention<config>::each_parameter(self.attention_, join_name(prefix, "attention"), visit);
    LayerNorm<config.dim>::each_parameter(self.norm_, join_name(prefix, "norm"), visit);
    MlpType::each_parameter(self.mlp_, join_name(prefix, "mlp"), Role::head, visit);
  }

 private:
  AlignedBuffer<float> probe_;
  Attention<config> attention_;
  LayerNorm<config.dim> norm_;
  MlpType mlp_;
};

/// Final norm, pooling, optional representation (tanh), classifier; without classes the features come out.
template <VitConfig config>
class ClassifierHead {
  static constexpr Index dim = config.dim;
  static constexpr Index tokens = config.tokens();
  static constexpr Index features = config.features();
  static constexpr bool has_representation = config.representation > 0;
  static constexpr bool has_classifier = config.classes > 0;
  static constexpr bool normalises_all =
      config.head == Head::map || (config.head == Head::mean && config.final_norm == FinalNorm::before_pooling);
  static constexpr Index block_images = 56;
  static constexpr Index first_pooled = config.head == Head::mean && config.unread_class_token ? 1 : 0;

 public:
  static constexpr ScratchBytes scratch(Index images) {
    const Index normed = normalises_all ? arena_bytes<float>(tokens * dim) : 0;
    const Index pooling = normed + (config.head == Head::map ? MapHead<config>::scratch_bytes() : 0);
    const Index block = largest_block(images, block_images);
    const Index outputs =
        std::max(has_representation ? tiles_bytes(block, dim) : 0, has_classifier ? tiles_bytes(block, features) : 0);
    return {arena_bytes<float>(images * dim) + (has_representation ? arena_bytes<float>(images * features) : 0),
            std::max(pooling, outputs)};
  }

  /// stream: (images * T) x D, outputs: images x config.outputs().
  void forward(ConstMatrixView stream, MatrixView outputs, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index images = outputs.rows();
    const MatrixView pooled(shared.take<float>(images * dim), images, dim);
    workspace.parallel(images, [&](Index image, Arena& arena) {
      pool(stream.rows_of(image * tokens, tokens), pooled.row_data(image), arena);
    });
    const MatrixView represented =
        has_representation ? MatrixView(shared.take<float>(images * features), images, features) : pooled;
    workspace.parallel_rows(images, block_images, [&](Index first, Index count, Arena& arena) {
      if constexpr (has_representation)
        represent(pooled.rows_of(first, count), represented.rows_of(first, count), arena);
      if constexpr (has_classifier)
        classifier_.forward(represented.rows_of(first, count), outputs.rows_of(first, count), arena);
      else
        outputs.rows_of(first, count) = represented.rows_of(first, count);
    });
  }

  template <class Self, class Visit>
  static void each_parameter(Self& self, Visit&& visit) {
    LayerNorm<dim>::each_parameter(self.norm_, "norm", visit);
    if constexpr (config.head == Head::map) MapHead<config>::each_parameter(self.map_, "map_head", visit);
    if constexpr (has_representation)
      Linear<dim, features>::each_parameter(self.representation_, "representation", Role::head, visit);
    if constexpr (has_classifier)
      Linear<features, config.classes>::each_parameter(self.classifier_, "head", Role::head, visit);
  }

 private:
  // A norm commutes with taking one token, so only the mean and map heads normalise all of them.
  void pool(ConstMatrixView x, float* result, Arena& arena) const {
    if constexpr (config.head == Head::class_token || config.head == Head::first_token) {
      norm_.forward_row(x.row_data(0), result, config.epsilon);
    } else if constexpr (normalises_all) {
      const MatrixView normed(arena.take<float>(tokens * dim), tokens, dim);
      norm_.forward(x, normed, config.epsilon);
      if constexpr (config.head == Head::map)
        map_.forward(normed, result, arena);
      else
        mean(normed, result);
    } else {
      mean(x, result);
      norm_.forward_row(result, result, config.epsilon);
    }
  }

  static void mean(ConstMatrixView x, float* result) {
    std::fill_n(result, dim, 0.f);
    for (Index token = first_pooled; token < tokens; ++token)
      for (Index i = 0; i < dim; ++i) result[i] += x(token, i);
    for (Index i = 0; i < dim; ++i) result[i] *= 1.f / static_cast<float>(tokens - first_pooled);
  }

  void represent(ConstMatrixView x, MatrixView y, Arena& arena) const {
    representation_.forward(x, y, arena);
    for (Index row = 0; row < y.rows(); ++row)
      for (Index i = 0; i < features; ++i) y(row, i) = std::tanh(y(row, i));
  }

  LayerNorm<dim> norm_;
  std::conditional_t<config.head == Head::map, MapHead<config>, Nothing> map_;
  std::conditional_t<has_representation, Linear<dim, features>, Nothing> representation_;
  std::conditional_t<has_classifier, Linear<features, has_classifier ? config.classes : 1>, Nothing> classifier_;
};

}  // namespace moevit
