/// Multi-head self-attention over a map whose queries, keys and values are convolved (CvT).
#pragma once

#include <moevit/layers/attention_core_gradient.hpp>
#include <moevit/layers/convolutional_projection.hpp>
#include <moevit/layers/layer_norm.hpp>
#include <moevit/layers/masks.hpp>

#include <cmath>

namespace moevit {

/// The numbers of a ConvolutionalAttention.
struct ConvolutionalAttentionConfig {
  Index dim = 64;
  Index heads = 1;
  Index class_tokens = 0;
  Index kernel = 3;            ///< of the convolutions, an odd number
  Index query_padding = 1;     ///< queries keep the size of the map
  Index key_value_stride = 2;  ///< keys and values may have a smaller map
  Index key_value_padding = 1;
  bool qkv_bias = true;
  NormStatistics statistics = NormStatistics::batch;  ///< that training passes normalise with
  float epsilon = 1e-5f;                              ///< of the layer norm before it
  float batch_epsilon = 1e-5f;                        ///< of the batch norms

  constexpr bool operator==(const ConvolutionalAttentionConfig&) const = default;

  constexpr ConvolutionalProjectionConfig query() const {
    return {dim, {kernel, 1, query_padding}, class_tokens, qkv_bias, statistics, batch_epsilon};
  }
  constexpr ConvolutionalProjectionConfig key_value() const {
    return {dim, {kernel, key_value_stride, key_value_padding}, class_tokens, qkv_bias, statistics, batch_epsilon};
  }
};

/// softmax(q k^T / sqrt(dim)) v per head and image, output projection; the scale is that of the whole width, not of a
/// head. Class tokens take part, but are not convolved. Maps of any size. Source: Wu et al. 2021 (CvT), section 3.2,
/// and its published code.
template <ConvolutionalAttentionConfig config>
class ConvolutionalAttention {
  static_assert(config.dim % config.heads == 0, "ConvolutionalAttention: dim must be a multiple of heads");
  static_assert(config.kernel == 2 * config.query_padding + 1,
                "ConvolutionalAttention: queries must keep the size of the map: kernel = 2 query_padding + 1");
  static constexpr Index heads = config.heads;
  static constexpr Index head_width = config.dim / heads;
  using Query = ConvolutionalProjection<config.query()>;
  using KeyValue = ConvolutionalProjection<config.key_value()>;
  using Output = Linear<config.dim, config.dim>;

 public:
  static constexpr Index dim = config.dim;
  static constexpr float epsilon = config.epsilon;
  static constexpr Index class_tokens = config.class_tokens;
  /// Statistics over the batch cannot be taken of some images after the others.
  static constexpr bool whole_batch = config.statistics == NormStatistics::batch;
  static constexpr Index block_rows = 112;

  /// Scratch for `images` maps.
  static constexpr ScratchBytes scratch(Index images, MapSize map) {
    const ScratchBytes projection = one_after_the_other(Query::scratch(images, map), KeyValue::scratch(images, map));
    const Index core = simd::attention_scratch(key_tokens(map), head_width);
    return {tokens_bytes(images, map) + parts_bytes(images, map) + projection.shared,
            std::max({projection.per_worker, arena_bytes<float>(core),
                      Output::scratch_bytes(largest_block(images * tokens(map), block_rows))})};
  }

  /// stream += scale * attention(norm(stream)). scale (layer scale) may be null; `block` makes no difference.
  template <class Norm>
  void forward(const Norm& norm, MatrixView stream, MapSize map, const float* scale, Workspace& workspace,
               Index /*block*/) const {
    const Arena::Scope scope(workspace.shared());
    const TokenMaps<MatrixView> x = normed_tokens(norm, stream, map, workspace);
    const Parts parts = take_parts(x.images, map, workspace.shared());
    query_.forward(constant(x), parts.query, workspace);
    key_.forward(constant(x), parts.key(), workspace);
    value_.forward(constant(x), parts.value(), workspace);
    attend(parts, x.images, workspace);
    put_out(parts.mixed, stream, {.scale = scale, .residual = stream.data(), .residual_stride = stream.stride()},
            workspace, [](Index, Index) {});
  }

 private:
  /// Queries, keys beside values, and the outputs of the heads.
  struct Parts {
    MatrixView query;      ///< (images * tokens) x dim
    MatrixView key_value;  ///< (images * key tokens) x 2 dim
    MatrixView mixed;      ///< (images * tokens) x dim

    MatrixView key() const { return {key_value.data(), key_value.rows(), dim, key_value.stride()}; }
    MatrixView value() const { return {key_value.data() + dim, key_value.rows(), dim, key_value.stride()}; }
  };

 public:
  /// What backward() needs of a pass.
  struct Saved {
    Parts parts;
    typename Query::Saved query;
    typename KeyValue::Saved key, value;

    Saved images_of(Index first, Index count, MapSize map) const {
      const auto rows = [&](const MatrixView& all, Index own) { return all.rows_of(first * own, count * own); };
      const Parts own{rows(parts.query, tokens(map)), rows(parts.key_value, key_tokens(map)),
                      rows(parts.mixed, tokens(map))};
      return {own, query.images_of(first, count, map), key.images_of(first, count, map),
              value.images_of(first, count, map)};
    }
  };
  static constexpr Index saved_bytes(Index images, MapSize map) {
    return parts_bytes(images, map) + Query::saved_bytes(images, map) + 2 * KeyValue::saved_bytes(images, map);
  }
  static Saved take_saved(Index images, MapSize map, Arena& arena) {
    const Parts parts = take_parts(images, map, arena);
    const typename Query::Saved query = Query::take_saved(images, map, arena);
    const typename KeyValue::Saved key = KeyValue::take_saved(images, map, arena);
    return {parts, query, key, KeyValue::take_saved(images, map, arena)};
  }

  /// result = stream + scale * masked attention(norm(stream)), as forward() but with the statistics that training
  /// takes, filling `saved`.
  template <class Norm>
  void forward_saved(const Norm& norm, ConstMatrixView stream, MapSize map, const float* scale, const Saved& saved,
                     MatrixView result, Workspace& workspace, Index /*block*/, const BranchMask& mask = {}) const {
    const Arena::Scope scope(workspace.shared());
    const TokenMaps<MatrixView> x = normed_tokens(norm, stream, map, workspace);
    query_.forward_saved(constant(x), saved.query, saved.parts.query, workspace);
    key_.forward_saved(constant(x), saved.key, saved.parts.key(), workspace);
    value_.forward_saved(constant(x), saved.value, saved.parts.value(), workspace);
    attend(saved.parts, x.images, workspace);
    simd::Epilogue epilogue{.scale = scale, .residual = stream.data(), .residual_stride = stream.stride()};
    if (mask.is_active()) epilogue = {};
    put_out(saved.parts.mixed, result, epilogue, workspace, [&](Index first, Index count) {
      if (mask.is_active())
        add_masked_branch(stream.rows_of(first, count), scale, mask.from(first), result.rows_of(first, count));
    });
  }

  /// The gradient of y = x + attention(norm(x)) for rows x: d_stream, the gradient of y, becomes that of x. `d_branch`
  /// is the gradient of attention(norm(x)), which may be d_stream itself.
  template <class Norm>
  void backward(const Norm& norm, ConstMatrixView x, MapSize map, const Saved& saved, ConstMatrixView d_branch,
                ConvolutionalAttention& grads, Norm& norm_grads, MatrixView d_stream, Workspace& workspace,
                Index /*block*/) const {
    Arena& shared = workspace.shared();
    const Arena::Scope scope(shared);
    const TokenMaps<MatrixView> normed = normed_tokens(norm, x, map, workspace);
    const TokenMaps<MatrixView> d = take_tokens(normed.images, map, shared);
    std::fill_n(d.places.data(), d.places.size(), 0.f);
    std::fill_n(d.class_tokens.data(), d.class_tokens.size(), 0.f);
    const Parts d_parts = take_parts(normed.images, map, shared);
    multiply_by_transposed(output_.kernel(), d_branch, d_parts.mixed, workspace);
    add_weight_gradient(saved.parts.mixed, d_branch, grads.output_.gradient(), workspace);
    core_gradient(saved.parts, normed.images, d_parts, workspace);
    query_.backward(constant(normed), saved.query, d_parts.query, grads.query_, d, workspace);
    key_.backward(constant(normed), saved.key, d_parts.key(), grads.key_, d, workspace);
    value_.backward(constant(normed), saved.value, d_parts.value(), grads.value_, d, workspace);
    const MatrixView d_normed = in_stream_order(d, d_parts.mixed, workspace);
    norm.backward(x, d_normed, norm_grads, d_stream, epsilon, workspace);
  }

  /// Scratch of forward_saved() and backward().
  static constexpr ScratchBytes training_scratch(Index images, MapSize map) {
    const ScratchBytes projection =
        one_after_the_other(Query::training_scratch(images, map), KeyValue::training_scratch(images, map));
    const Index rows = images * tokens(map), most = std::max(tokens(map), key_tokens(map));
    return {
        2 * tokens_bytes(images, map) + parts_bytes(images, map) +
            std::max({projection.shared, Output::transposed_bytes, LayerNorm<dim>::backward_bytes(rows)}),
        std::max({scratch(images, map).per_worker, projection.per_worker, weight_gradient_bytes(rows),
                  attention_core_gradient_bytes(most, head_width), tiles_bytes(largest_block(rows, block_rows), dim)})};
  }

  /// Floats of the statistics of one batch; 0: training passes take the running ones.
  static constexpr Index statistics_size = whole_batch ? Query::statistics_size + 2 * KeyValue::statistics_size : 0;
  static void copy_statistics(const Saved& saved, float* statistics) {
    Query::copy_statistics(saved.query, statistics);
    KeyValue::copy_statistics(saved.key, statistics + Query::statistics_size);
    KeyValue::copy_statistics(saved.value, statistics + Query::statistics_size + KeyValue::statistics_size);
  }
  /// Lets the running statistics of all batch norms follow those that were copied from a pass over `images` maps.
  void follow(const float* statistics, Index images, MapSize map, float momentum) {
    query_.follow(statistics, images, map, momentum);
    key_.follow(statistics + Query::statistics_size, images, map, momentum);
    value_.follow(statistics + Query::statistics_size + KeyValue::statistics_size, images, map, momentum);
  }

  template <class Self>
  static void each_parameter(Self& self, const std::string& prefix, const ParameterVisitor<Self>& visit) {
    Query::each_parameter(self.query_, join_name(prefix, "query"), visit);
    KeyValue::each_parameter(self.key_, join_name(prefix, "key"), visit);
    KeyValue::each_parameter(self.value_, join_name(prefix, "value"), visit);
    Output::each_parameter(self.output_, join_name(prefix, "output"), Role::attention, visit);
  }

 private:
  static constexpr Index tokens(MapSize map) { return class_tokens + map.places(); }
  static constexpr Index key_tokens(MapSize map) { return KeyValue::result_tokens(map); }
  static float factor() { return 1.f / std::sqrt(static_cast<float>(dim)); }

  static constexpr Index parts_bytes(Index images, MapSize map) {
    return 2 * arena_bytes<float>(images * tokens(map) * dim) + arena_bytes<float>(images * key_tokens(map) * 2 * dim);
  }
  static Parts take_parts(Index images, MapSize map, Arena& arena) {
    const Index rows = images * tokens(map), keys = images * key_tokens(map);
    const MatrixView query(arena.take<float>(rows * dim), rows, dim);
    const MatrixView key_value(arena.take<float>(keys * 2 * dim), keys, 2 * dim);
    return {query, key_value, {arena.take<float>(rows * dim), rows, dim}};
  }
  static constexpr Index tokens_bytes(Index images, MapSize map) {
    return arena_bytes<float>(images * map.places() * dim) + arena_bytes<float>(images * class_tokens * dim);
  }
  static TokenMaps<MatrixView> take_tokens(Index images, MapSize map, Arena& arena) {
    const Index places = images * map.places(), others = images * class_tokens;
    const MatrixView of_places(arena.take<float>(places * dim), places, dim);
    return {of_places, {arena.take<float>(others * dim), others, dim}, map, images};
  }
  static TokenMaps<ConstMatrixView> constant(const TokenMaps<MatrixView>& x) {
    return {x.places, x.class_tokens, x.size, x.images};
  }

  /// Where a row of the stream lies among places or class tokens.
  static float* row_of(const TokenMaps<MatrixView>& x, Index row) {
    const Index image = row / tokens(x.size), token = row % tokens(x.size);
    return token < class_tokens ? x.class_tokens.row_data(image * class_tokens + token)
                                : x.places.row_data(row - (image + 1) * class_tokens);
  }
  template <class Norm>
  static TokenMaps<MatrixView> normed_tokens(const Norm& norm, ConstMatrixView stream, MapSize map,
                                             Workspace& workspace) {
    const TokenMaps<MatrixView> x = take_tokens(stream.rows() / tokens(map), map, workspace.shared());
    workspace.parallel_rows(stream.rows(), block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row)
        norm.forward_row(stream.row_data(row), row_of(x, row), epsilon);
    });
    return x;
  }
  /// The rows of x as they lie in a stream: in `room`, or where they are when there are no class tokens.
  static MatrixView in_stream_order(const TokenMaps<MatrixView>& x, MatrixView room, Workspace& workspace) {
    if constexpr (class_tokens == 0) return x.places;
    workspace.parallel_rows(room.rows(), block_rows, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) std::copy_n(row_of(x, row), dim, room.row_data(row));
    });
    return room;
  }

  // One task per image and head; queries are split further where there are too few of those for the workers.
  void attend(const Parts& parts, Index images, Workspace& workspace) const {
    const simd::TileKernel* kernel = query_.operand_kernel();
    const Index pairs = images * heads;
    if (pairs == 0) return;
    const Index queries = parts.query.rows() / images, keys = parts.key_value.rows() / images;
    const Index split = pairs % workspace.workers() == 0 ? 1 : std::min(workspace.workers(), queries);
    workspace.parallel(pairs * split, [&](Index task, Arena& arena) {
      const Index pair = task / split, image = pair / heads, column = pair % heads * head_width, part = task % split;
      const Index first = queries * part / split, row = image * queries + first;
      const float* key = parts.key_value.row_data(image * keys) + column;
      const simd::AttentionHead head{parts.query.row_data(row) + column,
                                     queries * (part + 1) / split - first,
                                     dim,
                                     key,
                                     key + dim,
                                     keys,
                                     2 * dim,
                                     head_width,
                                     factor(),
                                     kernel};
      simd::attention_head(head, arena.take<float>(simd::attention_scratch(keys, head_width)),
                           parts.mixed.row_data(row) + column, dim);
    });
  }

  /// d.query and d.key_value from d.mixed.
  static void core_gradient(const Parts& parts, Index images, const Parts& d, Workspace& workspace) {
    if (images == 0) return;
    const Index queries = parts.query.rows() / images, keys = parts.key_value.rows() / images;
    const auto columns = [&](const MatrixView& all, Index rows, Index image, Index column) {
      return MatrixView(all.row_data(image * rows) + column, rows, head_width, all.stride());
    };
    workspace.parallel(images * heads, [&](Index task, Arena& arena) {
      const Index image = task / heads, column = task % heads * head_width;
      const auto of = [&](const Parts& from) {
        return HeadParts<MatrixView>{columns(from.query, queries, image, column),
                                     columns(from.key_value, keys, image, column),
                                     columns(from.key_value, keys, image, column + dim)};
      };
      const HeadParts<MatrixView> own = of(parts);
      attention_core_gradient({own.query, own.key, own.value}, factor(), columns(d.mixed, queries, image, column),
                              of(d), arena);
    });
  }

  /// target = epilogue(mixed W + b), then finish(first row, rows), a block of rows at a time.
  template <class Finish>
  void put_out(ConstMatrixView mixed, MatrixView target, const simd::Epilogue& epilogue, Workspace& workspace,
               Finish finish) const {
    workspace.parallel_rows(mixed.rows(), block_rows, [&](Index first, Index count, Arena& arena) {
      simd::Epilogue own = epilogue;
      if (own.residual) own.residual += first * own.residual_stride;
      output_.forward(mixed.rows_of(first, count), target.rows_of(first, count), arena, own);
      finish(first, count);
    });
  }

  Query query_;
  KeyValue key_, value_;
  Output output_;
};

}  // namespace moevit
