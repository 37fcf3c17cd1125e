/// From tokens to logits: final norm, pooling, optional tanh layer, classifier.
#pragma once

#include <moevit/layers/attention_pooling.hpp>
#include <moevit/layers/dense_mlp.hpp>

#include <cmath>

namespace moevit {

/// Attention pooling with a learned probe: z = attention(probe, tokens), z + mlp(norm(z)). Source: Zhai et al. 2022, as
/// V-MoE has it.
template <VitConfig config>
class MapHead {
  using Pooling = AttentionPooling<config>;
  using MlpType = ConfiguredMlp<config>;
  static constexpr Index tokens = config.tokens();

 public:
  MapHead() : probe_(padded_vector(config.dim)) {}

  static constexpr Index scratch_bytes() {
    return std::max(Pooling::forward_bytes(tokens), arena_bytes<float>(config.dim) + MlpType::scratch_bytes(1));
  }

  /// result[D] = pooled tokens of one image (T x D, normalised).
  void forward(ConstMatrixView x, float* result, Arena& arena) const {
    Pooling::forward(attention_, probe_.data(), x, result, arena);
    float* normed = arena.take<float>(config.dim);
    norm_.forward_row(result, normed, config.epsilon);
    mlp_.forward({normed, 1, config.dim}, {result, 1, config.dim}, arena,
                 {.residual = result, .residual_stride = config.dim});
  }

  /// From d_result, the gradient of the pooled tokens of one image: that of x (T x D, assigned); the parameters' is
  /// added to grads. All of it is computed again.
  void backward(ConstMatrixView x, const float* d_result, MapHead& grads, MatrixView d_x, Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const auto take = [&](Index width) { return MatrixView(shared.take<float>(width), 1, width); };
    const MatrixView pooled = take(config.dim), normed = take(config.dim), hidden = take(MlpType::hidden),
                     d_hidden = take(MlpType::hidden), d_normed = take(config.dim), d_pooled = take(config.dim),
                     unused = take(config.dim);
    const ConstMatrixView d(d_result, 1, config.dim);
    workspace.parallel(1, [&](Index, Arena& arena) {
      Pooling::forward(attention_, probe_.data(), x, pooled.data(), arena);
      norm_.forward_row(pooled.data(), normed.data(), config.epsilon);
      mlp_.forward_saved(normed, hidden, unused, arena);
    });
    const typename MlpType::Transposed weights = mlp_.transposed(workspace);
    workspace.parallel(1, [&](Index, Arena& arena) {
      MlpType::backward_rows(weights, d, hidden, d_hidden, d_normed, arena);
      grads.mlp_.add_gradient(normed, hidden, d_hidden, d, Share(), arena);
    });
    std::copy_n(d_result, config.dim, d_pooled.data());
    norm_.backward_row(pooled.data(), d_normed.data(), grads.norm_, d_pooled.data(), config.epsilon);
    Pooling::backward(attention_, probe_.data(), x, d_pooled, grads.attention_, grads.probe_.data(), d_x, workspace);
  }
  /// Bytes of scratch of backward(), shared or of a worker.
  static constexpr Index backward_bytes() {
    return scratch_bytes() + 5 * arena_bytes<float>(config.dim) + 2 * arena_bytes<float>(MlpType::hidden) +
           MlpType::transposed_bytes + MlpType::saved_scratch_bytes(1) + MlpType::backward_worker_bytes(1, 1) +
           Pooling::backward_bytes(tokens);
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
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

  /// From d_outputs: d_stream (assigned), and the gradients of the parameters, which are added to grads. The head is
  /// computed again, so nothing is saved for it but the stream.
  void backward(ConstMatrixView stream, ConstMatrixView d_outputs, ClassifierHead& grads, MatrixView d_stream,
                Workspace& workspace) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const Index images = d_outputs.rows();
    const auto take = [&](Index columns) { return MatrixView(shared.take<float>(images * columns), images, columns); };
    const MatrixView pooled = take(dim), represented = take(features), d_represented = take(features),
                     d_pooled = take(dim);
    workspace.parallel(images, [&](Index image, Arena& arena) {
      pool(stream.rows_of(image * tokens, tokens), pooled.row_data(image), arena);
    });
    workspace.parallel_rows(images, block_images, [&](Index first, Index count, Arena& arena) {
      if constexpr (has_representation)
        represent(pooled.rows_of(first, count), represented.rows_of(first, count), arena);
      else
        represented.rows_of(first, count) = pooled.rows_of(first, count);
    });
    if constexpr (has_classifier) {
      add_weight_gradient(represented, d_outputs, grads.classifier_.gradient(), workspace);
      multiply_by_transposed(classifier_.kernel(), d_outputs, d_represented, workspace);
    } else {
      d_represented.rows_of(0, images) = d_outputs;
    }
    if constexpr (has_representation) {
      for (Index i = 0; i < images * features; ++i)
        d_represented.data()[i] *= 1.f - represented.data()[i] * represented.data()[i];
      add_weight_gradient(pooled, d_represented, grads.representation_.gradient(), workspace);
      multiply_by_transposed(representation_.kernel(), d_represented, d_pooled, workspace);
    } else {
      d_pooled.rows_of(0, images) = d_represented;
    }
    pool_backward(stream, d_pooled, grads, d_stream, workspace);
  }
  static constexpr ScratchBytes training_scratch(Index images) {
    const Index block = largest_block(images, block_images), rows = images * tokens;
    const Index transposed = std::max(transposed_bytes(features, config.outputs()), transposed_bytes(dim, features));
    const Index pooling = LayerNorm<dim>::backward_bytes(rows) + 2 * arena_bytes<float>(rows * dim) +
                          (config.head == Head::map ? MapHead<config>::backward_bytes() : 0);
    return {2 * arena_bytes<float>(images * dim) + 2 * arena_bytes<float>(images * features) +
                std::max(transposed, pooling),
            std::max({scratch(images).per_worker, tiles_bytes(block, config.outputs()), tiles_bytes(block, features),
                      weight_gradient_bytes(images),
                      config.head == Head::map ? MapHead<config>::backward_bytes() : Index{0}})};
  }

  template <class Self>
  static void each_parameter(Self& self, const ParameterVisitor<Self>& visit) {
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

  // From the gradient of pooled tokens to that of the stream, which is assigned.
  void pool_backward(ConstMatrixView stream, ConstMatrixView d_pooled, ClassifierHead& grads, MatrixView d_stream,
                     Workspace& workspace) const {
    const Index images = d_pooled.rows();
    std::fill_n(d_stream.data(), d_stream.size(), 0.f);
    if constexpr (config.head == Head::class_token || config.head == Head::first_token) {
      for (Index image = 0; image < images; ++image)
        norm_.backward_row(stream.row_data(image * tokens), d_pooled.row_data(image), grads.norm_,
                           d_stream.row_data(image * tokens), config.epsilon);
    } else if constexpr (normalises_all) {
      const Index rows = stream.rows();
      const MatrixView d_normed(workspace.shared().template take<float>(rows * dim), rows, dim);
      if constexpr (config.head == Head::map)
        map_backward(stream, d_pooled, grads, d_normed, workspace);
      else
        spread_mean(d_pooled, d_normed);
      norm_.backward(stream, d_normed, grads.norm_, d_stream, config.epsilon, workspace);
    } else {
      std::array<float, dim> pooled, d_mean;
      for (Index image = 0; image < images; ++image) {
        mean(stream.rows_of(image * tokens, tokens), pooled.data());
        d_mean.fill(0.f);
        norm_.backward_row(pooled.data(), d_pooled.row_data(image), grads.norm_, d_mean.data(), config.epsilon);
        spread_mean({d_mean.data(), 1, dim}, d_stream.rows_of(image * tokens, tokens));
      }
    }
  }

  // The gradient of the tokens' means: the same for every token that is pooled, 0 for the others.
  static void spread_mean(ConstMatrixView d_mean, MatrixView d_tokens) {
    constexpr float share = 1.f / static_cast<float>(tokens - first_pooled);
    for (Index row = 0; row < d_tokens.rows(); ++row)
      for (Index i = 0; i < dim; ++i)
        d_tokens(row, i) = row % tokens < first_pooled ? 0.f : share * d_mean(row / tokens, i);
  }

  void map_backward(ConstMatrixView stream, ConstMatrixView d_pooled, ClassifierHead& grads, MatrixView d_normed,
                    Workspace& workspace) const {
    if constexpr (config.head == Head::map) {
      const MatrixView normed(workspace.shared().template take<float>(stream.size()), stream.rows(), dim);
      norm_.forward(stream, normed, config.epsilon);
      for (Index image = 0; image < d_pooled.rows(); ++image)  // one after the other: they add to the same gradients
        map_.backward(normed.rows_of(image * tokens, tokens), d_pooled.row_data(image), grads.map_,
                      d_normed.rows_of(image * tokens, tokens), workspace);
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
