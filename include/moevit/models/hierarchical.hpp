/// Hierarchical transformers: stages of falling map size and rising width (Swin, CvT).
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/models/head.hpp>
#include <moevit/models/stage.hpp>

#include <array>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace moevit {

namespace detail {

template <class Family, std::size_t... numbers>
constexpr bool stages_are_trainable(std::index_sequence<numbers...>) {
  return (Stage<Family, static_cast<Index>(numbers)>::is_trainable && ...);
}

}  // namespace detail

/// image -> stages of [embedding -> blocks] -> norm, pooling, classifier; or the maps of all stages, for images of any
/// size. A family names the parts:
///
///     config                            numbers; image_size(), image_values(), channels, outputs() are asked for
///     moe                               a MoeConfig, whose placement counts blocks over all stages
///     stages, depth(stage), first_block(stage), has_output_norm(stage), epsilon
///     Embedding<stage>                  input_width, output_width, result_size(map), scratch(images, map),
///                                       training_scratch(images, map), forward(x, map, images, y, workspace),
///                                       backward(x, map, images, dy, grads, dx, workspace), each_parameter; it saves
///                                       nothing. y and dy have the rows of the stage's stream
///     Attention<stage>                  see layers/map_block.hpp
///     MlpOf<stage>, Sparse<stage>       the parts of dense and of sparse blocks
///     head                              a VitConfig for ClassifierHead, whose tokens are those of the last stage
///     has_head
///
/// A const model may serve any number of threads at once, each with its own context. Results do not depend on batch
/// size, place in the batch or number of threads, bit for bit, as long as nothing is dropped.
template <class Family>
class HierarchicalTransformer {
  template <class>
  friend class Backpropagation;  // models/hierarchical_backpropagation.hpp
  template <class, class>
  friend class DenseModel;  // models/dense_model.hpp

 public:
  static constexpr auto config = Family::config;
  static constexpr MoeConfig moe = Family::moe;
  static constexpr Index stages = Family::stages;
  static constexpr Index depth = Family::first_block(stages);
  static constexpr Index sparse_blocks = moe.placement.sparse_blocks(depth);
  static constexpr Index outputs_per_image = 1;
  static constexpr bool is_trainable =
      detail::stages_are_trainable<Family>(std::make_index_sequence<static_cast<std::size_t>(stages)>());
  template <Index stage>
  using StageType = Stage<Family, stage>;

 private:
  static_assert(stages > 0, "HierarchicalTransformer: expected at least one stage");
  static_assert(moe.placement.rule == Placement::Rule::none || sparse_blocks > 0,
                "HierarchicalTransformer: the placement names no block of this depth");
  template <std::size_t... numbers>
  static auto stages_of(std::index_sequence<numbers...>) -> std::tuple<Stage<Family, static_cast<Index>(numbers)>...>;
  using Stages = decltype(stages_of(std::make_index_sequence<static_cast<std::size_t>(stages)>()));
  using HeadType = std::conditional_t<Family::has_head, ClassifierHead<Family::head>, Nothing>;

  /// f(constant with the number of the stage) for every stage.
  template <class F>
  static constexpr void each_stage(F f) {
    [&]<std::size_t... numbers>(std::index_sequence<numbers...>) {
      (f(std::integral_constant<Index, static_cast<Index>(numbers)>()), ...);
    }
    (std::make_index_sequence<static_cast<std::size_t>(stages)>());
  }
  template <Index stage>
  static constexpr auto place = static_cast<std::size_t>(stage);
  template <Index stage>
  using OutputNorm = std::conditional_t<Family::has_output_norm(stage), LayerNorm<StageType<stage>::dim>, Nothing>;
  template <std::size_t... numbers>
  static auto norms_of(std::index_sequence<numbers...>) -> std::tuple<OutputNorm<static_cast<Index>(numbers)>...>;
  using OutputNorms = decltype(norms_of(std::make_index_sequence<static_cast<std::size_t>(stages)>()));

 public:
  /// Sizes of the image and of the maps of all stages behind it.
  using MapSizes = std::array<MapSize, static_cast<std::size_t>(stages) + 1>;
  static constexpr MapSizes map_sizes(MapSize image) {
    MapSizes sizes{image};
    each_stage([&](auto stage) { sizes[place<stage> + 1] = StageType<stage>::map_of(sizes[place<stage>]); });
    return sizes;
  }
  /// The stage that a block belongs to.
  static constexpr Index stage_of(int block) {
    Index result = 0;
    each_stage([&](auto stage) { result = block >= StageType<stage>::first_block ? stage : result; });
    return result;
  }
  /// Tokens of one image of the configured size in a block.
  static constexpr Index tokens_at(int block) { return tokens_at(block, map_sizes(config.image_size())); }
  static constexpr Index tokens_at(int block, const MapSizes& sizes) {
    Index tokens = 0;
    each_stage([&](auto stage) {
      if (block >= StageType<stage>::first_block) tokens = StageType<stage>::tokens(sizes[place<stage> + 1]);
    });
    return tokens;
  }

  /// Weights are zero, norms 1, until they are loaded or initialised.
  HierarchicalTransformer() = default;

  /// Bytes of scratch for up to `images` images of this size with these options; the worst case reaches it.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize image) {
    const MapSizes sizes = map_sizes(image);
    ScratchBytes bytes;
    Index streams = 0;  // of the stages so far
    const auto add = [&](ScratchBytes part) {
      bytes = one_after_the_other(bytes, {streams + part.shared, part.per_worker});
    };
    each_stage([&](auto stage) {
      using Type = StageType<stage>;
      streams += arena_bytes<float>(images * Type::tokens(sizes[place<stage> + 1]) * Type::dim);
      add(Type::scratch(options, images, sizes[place<stage>]));
    });
    if constexpr (Family::has_head)
      if (image == config.image_size()) add(HeadType::scratch(images));
    return bytes;
  }
  /// The same for images of the configured size and the model's own options, all workers together.
  static constexpr Index scratch_bytes(Index images, Index threads) {
    return scratch(routing_options(moe), images, config.image_size()).total(threads);
  }

  /// Everything a run on images of the configured size needs, allocated now. Throws Error when options make no sense.
  Context context(ContextOptions options = {}) const { return context(options, config.image_size()); }
  /// The same for images up to the size `largest`.
  Context context(ContextOptions options, MapSize largest) const { return make_context(options, largest, {}); }
  /// The same with an executor of the caller, which must outlive the context.
  Context context(ContextOptions options, ExecutorRef executor) const {
    if (options.threads > 1) fail("context: expected either threads or an executor, found both");
    return make_context(options, config.image_size(), executor);
  }

  /// outputs[N x config.outputs()] = logits of images[N x height x width x channels], normalised and of the configured
  /// size. Throws Error when sizes do not fit the model and the context, or a router sees something that is not finite.
  void forward(std::span<const float> images, std::span<float> outputs, Context& context) const
      requires(Family::has_head) {
    const Index count = check(images, outputs, context);
    context.start_pass();
    if (count == 0) return;
    run_stages(images, config.image_size(), count, context, [&](auto stage, MatrixView stream, MapSize) {
      if constexpr (stage == stages - 1)
        head_.forward(stream, MatrixView(outputs.data(), count, config.outputs()), context.workspace());
    });
  }

  /// maps[i] = the map of stage i, behind its output norm if it has one, for images[N x height x width x channels] of
  /// any size: N * map_sizes(size)[i + 1].places() rows. Maps without rows are left out. Throws Error when sizes do not
  /// fit.
  void forward_maps(std::span<const float> images, MapSize size, std::span<const MatrixView> maps,
                    Context& context) const {
    const Index count = check_maps(images, size, maps, context);
    context.start_pass();
    if (count == 0) return;
    run_stages(images, size, count, context, [&](auto stage, MatrixView stream, MapSize map) {
      if (maps[place<stage>].rows() > 0)
        this->template give_map<stage>(stream, map, maps[place<stage>], context.workspace());
    });
  }

  /// All parameters by name, in a fixed order.
  std::vector<Parameter> parameters() { return list_parameters<float>(*this); }
  std::vector<ConstParameter> parameters() const { return list_parameters<const float>(*this); }

  ModelDescription description() const { return Family::description(); }

  /// What images go through before this model sees them; loading sets it from the file's metadata.
  const Preprocessing& preprocessing() const { return preprocessing_; }
  void set_preprocessing(Preprocessing preprocessing) { preprocessing_ = std::move(preprocessing); }
  /// Names of the classes; empty if unknown.
  const std::vector<std::string>& class_names() const { return class_names_; }
  void set_class_names(std::vector<std::string> names) { class_names_ = std::move(names); }

 private:
  /// What is reserved for: the model's own options, and k where it is given.
  static constexpr RoutingOptions reserved_routing(Index selected) {
    RoutingOptions reserved = routing_options(moe);
    if (selected) reserved.selected = selected;
    return reserved;
  }
  Context make_context(ContextOptions options, MapSize largest, ExecutorRef executor) const {
    const Index images = std::max<Index>(options.images, 1);
    return make_context(options, largest, executor, scratch(reserved_routing(options.selected), images, largest));
  }
  Context make_context(ContextOptions options, MapSize largest, ExecutorRef executor, ScratchBytes bytes) const {
    std::vector<int> sparse(static_cast<std::size_t>(depth), -1);
    int routings = 0;
    for (Index block = 0; block < depth; ++block)
      if (moe.placement.contains(block, depth)) sparse[static_cast<std::size_t>(block)] = routings++;
    Context context(bytes, options, executor, std::move(sparse), routings);
    context.routing = routing_options(moe);
    const MapSizes sizes = map_sizes(largest);
    each_stage([&](auto stage) {
      using Type = StageType<stage>;
      if constexpr (Type::sparse_blocks > 0)
        for (Index block = 0; block < Type::depth; ++block)
          if (Type::is_sparse(block))
            Type::Sparse::reserve(context.routing_of(static_cast<int>(Type::first_block + block)),
                                  reserved_routing(options.selected), options.images,
                                  Type::tokens(sizes[place<stage> + 1]));
    });
    return context;
  }

  static Index count_of(std::span<const float> images, MapSize size, const Context& context) {
    const auto values = static_cast<Index>(images.size()), each = size.places() * config.channels;
    if (size.height < 1 || size.width < 1)
      fail("images: expected a size of at least 1 x 1, found ", size.height, " x ", size.width);
    if (values % each != 0)
      fail("images: expected a multiple of ", each, " values (", size.height, " x ", size.width, " x ", config.channels,
           "), found ", values);
    if (values / each > context.images())
      fail("images: expected at most the ", context.images(), " that the context was made for, found ", values / each);
    if (context.depth() != depth)
      fail("context: expected one of a model with ", depth, " blocks, found one with ", context.depth());
    return values / each;
  }
  static Index check(std::span<const float> images, std::span<float> outputs, const Context& context) {
    const Index count = count_of(images, config.image_size(), context), room = std::ssize(outputs);
    if (room != count * config.outputs())
      fail("outputs: expected ", count * config.outputs(), " values for ", count, " images, found ", room);
    return count;
  }
  template <class View>
  static void check_map(Index stage, Index count, MapSize map, Index dim, const View& view) {
    if (view.rows() != 0 && (view.rows() != count * map.places() || view.cols() != dim))
      fail("map of stage ", stage, ": expected ", count * map.places(), " x ", dim, " values, found ", view.rows(),
           " x ", view.cols());
  }
  template <class View>
  static Index check_maps(std::span<const float> images, MapSize size, std::span<const View> maps,
                          const Context& context) {
    const Index count = count_of(images, size, context);
    if (std::ssize(maps) != stages) fail("maps: expected one for each of ", stages, " stages, found ", maps.size());
    const MapSizes sizes = map_sizes(size);
    each_stage([&](auto stage) {
      check_map(stage, count, sizes[place<stage> + 1], StageType<stage>::dim, maps[place<stage>]);
    });
    return count;
  }

  /// f(stage constant, stream behind it, its map) for one stage after the other.
  template <class F>
  void run_stages(std::span<const float> images, MapSize size, Index count, Context& context, F f) const {
    context.ensure(scratch(context.routing, count, size));
    Arena& shared = context.workspace().shared();
    const Arena::Scope scope(shared);
    const MapSizes sizes = map_sizes(size);
    const float* input = images.data();
    Index rows_before = count * size.places();
    each_stage([&](auto stage) {
      using Type = StageType<stage>;
      const MapSize map = sizes[place<stage> + 1];
      const Index rows = count * Type::tokens(map);
      const MatrixView stream(shared.template take<float>(rows * Type::dim), rows, Type::dim);
      const MapSize before = sizes[place<stage>];
      const ConstMatrixView x(input, std::exchange(rows_before, rows), Type::EmbeddingType::input_width);
      std::get<place<stage>>(stages_).forward(x, before, count, stream, context);
      f(stage, stream, map);
      input = stream.data();
    });
  }

  template <class T, class Self>
  static std::vector<BasicParameter<T>> list_parameters(Self& self) {
    std::vector<BasicParameter<T>> list;
    const CollectParameters<T> collect{list};
    const BasicParameterVisitor<T> visit(collect);
    each_stage([&](auto stage) {
      const std::string prefix = numbered_name("stages.", static_cast<std::size_t>(stage));
      StageType<stage>::each_parameter(std::get<place<stage>>(self.stages_), prefix, visit);
      if constexpr (Family::has_output_norm(stage))
        OutputNorm<stage>::each_parameter(std::get<place<stage>>(self.output_norms_), prefix + ".output_norm", visit);
    });
    if constexpr (Family::has_head) HeadType::each_parameter(self.head_, visit);
    return list;
  }

  /// result = the places of a stage's stream, behind its output norm if it has one.
  template <Index stage>
  void give_map(ConstMatrixView stream, MapSize map, MatrixView result, Workspace& workspace) const {
    const Index tokens = StageType<stage>::tokens(map), first_place = tokens - map.places();
    workspace.parallel_rows(result.rows(), 256, [&](Index first, Index count, Arena&) {
      for (Index row = first; row < first + count; ++row) {
        const float* x = stream.row_data(row / map.places() * tokens + first_place + row % map.places());
        if constexpr (Family::has_output_norm(stage))
          std::get<place<stage>>(output_norms_).forward_row(x, result.row_data(row), Family::epsilon);
        else
          std::copy_n(x, stream.cols(), result.row_data(row));
      }
    });
  }

  static Preprocessing default_preprocessing() {
    return {.height = config.height(), .width = config.width(), .channels = config.channels};
  }

  Stages stages_;
  OutputNorms output_norms_;
  HeadType head_;
  Preprocessing preprocessing_ = default_preprocessing();
  std::vector<std::string> class_names_;
};

}  // namespace moevit
