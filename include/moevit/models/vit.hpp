/// The vision transformer that all models are made from: dense blocks and sparse ones.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/preprocessing.hpp>
#include <moevit/layers/patch_embedding.hpp>
#include <moevit/models/head.hpp>
#include <moevit/moe/sparse_block.hpp>

#include <array>
#include <span>
#include <string>
#include <vector>

namespace moevit {

/// No sparse block at all.
struct Dense {
  static constexpr bool is_trainable = true;
  static constexpr MoeConfig defaults{.placement = no_blocks()};
  static constexpr Index copies = 1;
  static constexpr RouterScope scope = RouterScope::block;
  using RouterOfModel = Nothing;
};

/// images -> patches -> embedding + positions -> blocks -> norm -> head. `Sparse` is the sparse part of the blocks that
/// Sparse::defaults.placement names: SparseMlp<router, bank, moe> or SoftMlp<...>; Dense: none.
///
/// A const model may serve any number of threads at once, each with its own context. Logits do not depend on batch
/// size, place in the batch or number of threads, bit for bit, as long as nothing is dropped.
template <VitConfig config_, class Sparse = Dense>
class Vit {
  template <class>
  friend class Backpropagation;  // models/backpropagation.hpp: training passes

 public:
  using SparsePart = Sparse;
  static constexpr VitConfig config = config_;
  static constexpr MoeConfig moe = Sparse::defaults;
  static constexpr Index sparse_blocks = moe.placement.sparse_blocks(config.depth);
  static constexpr Index depth = config.depth;
  static constexpr Index dense_blocks = depth - sparse_blocks;
  /// Output rows per image: the members of an ensemble, else 1.
  static constexpr Index outputs_per_image = sparse_blocks ? Sparse::copies : 1;

 private:
  static_assert(config.image > 0 && config.patch > 0 && config.channels > 0 && config.dim > 0 && config.depth > 0 &&
                    config.heads > 0 && config.hidden > 0,
                "VitConfig: image, patch, channels, dim, depth, heads and hidden must be positive");
  static_assert(config.height() % config.patch_height() == 0 && config.width() % config.patch_width_pixels() == 0,
                "VitConfig: the image must be a whole number of patches high and wide");
  static_assert(config.head_width > 0 || config.dim % config.heads == 0,
                "VitConfig: dim must be a multiple of heads, or head_width be given");
  static_assert(!config.unread_class_token || config.head == Head::mean,
                "VitConfig: unread_class_token is for the mean head");
  static_assert(config.final_norm == FinalNorm::before_pooling || config.head == Head::mean,
                "VitConfig: a norm after pooling is for the mean head");
  static_assert(std::is_same_v<Sparse, Dense> || sparse_blocks > 0, "Vit: the placement names no block of this depth");
  static constexpr bool router_of_model = Sparse::scope == RouterScope::model;
  static_assert(!router_of_model || moe.placement.is_contiguous_end(config.depth),
                "Vit: a router for the whole model needs sparse blocks that are the last ones without a gap");

  using DenseBlocks = std::array<DenseBlock<config>, static_cast<std::size_t>(dense_blocks)>;
  template <Index count>
  struct SparseBlocks {
    std::vector<SparseBlock<config, Sparse>> list{static_cast<std::size_t>(count)};
  };
  template <Index count>
  requires(count == 0) struct SparseBlocks<count> {
  };

 public:
  /// Tokens of one image in a block.
  static constexpr Index tokens_at(int /*block*/) { return config.tokens(); }

  /// Weights are zero, norms 1, until they are loaded or initialised.
  Vit() = default;

  /// Bytes of scratch for up to `images` images with these options; the worst case reaches it.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images) {
    const Index rows = images * outputs_per_image;
    ScratchBytes parts = one_after_the_other(PatchEmbedding<config>::scratch(), ClassifierHead<config>::scratch(rows));
    if constexpr (dense_blocks > 0) parts = one_after_the_other(parts, DenseBlock<config>::scratch(rows));
    if constexpr (sparse_blocks > 0) parts = one_after_the_other(parts, sparse_scratch(options, images));
    return {arena_bytes<float>(rows * config.tokens() * config.dim) + parts.shared, parts.per_worker};
  }
  /// The same for the model's own options, all workers together.
  static constexpr Index scratch_bytes(Index images, Index threads) {
    return scratch(routing_options(moe), images).total(threads);
  }

  /// Everything a run needs, allocated now: scratch, plans, and a pool of options.threads threads if that is above 1.
  /// Throws Error when options make no sense.
  Context context(ContextOptions options = {}) const { return make_context(options, {}); }
  /// The same with an executor of the caller, which must outlive the context.
  Context context(ContextOptions options, ExecutorRef executor) const {
    if (options.threads > 1) fail("context: expected either threads or an executor, found both");
    return make_context(options, executor);
  }

  /// outputs[N * outputs_per_image x outputs] = logits of images[N x height x width x channels], normalised.
  /// Throws Error when sizes do not fit the model and the context, or a router sees something that is not finite.
  void forward(std::span<const float> images, std::span<float> outputs, Context& context) const {
    const Index count = check(images, outputs, context);
    context.start_pass();
    if (count == 0) return;
    context.ensure(scratch(context.routing, count));
    Workspace& workspace = context.workspace();
    const Arena::Scope scope(workspace.shared());
    float* memory = workspace.shared().template take<float>(count * outputs_per_image * config.tokens() * config.dim);
    MatrixView stream(memory, count * config.tokens(), config.dim);
    embedding_.forward(images, stream, workspace);
    Index copies = 1, dense = 0, sparse = 0;
    for (int block = 0; block < config.depth; ++block) {
      if constexpr (sparse_blocks > 0) {
        if (moe.placement.contains(block, config.depth)) {
          if (sparse == 0) enter_sparse_blocks(memory, count, copies, block, context);
          const MatrixView rows(memory, count * copies * config.tokens(), config.dim);
          sparse_.list[static_cast<std::size_t>(sparse++)].forward(rows, count, copies, block, context);
          observe(context, block, rows);
          continue;
        }
      }
      if constexpr (dense_blocks > 0) {
        const MatrixView rows(memory, count * copies * config.tokens(), config.dim);
        dense_[static_cast<std::size_t>(dense++)].forward(rows, workspace);
        observe(context, block, rows);
      }
    }
    head_.forward(ConstMatrixView(memory, count * copies * config.tokens(), config.dim),
                  MatrixView(outputs.data(), count * outputs_per_image, config.outputs()), workspace);
  }

  /// All parameters by name, in a fixed order.
  std::vector<Parameter> parameters() { return list_parameters<float>(*this); }
  std::vector<ConstParameter> parameters() const { return list_parameters<const float>(*this); }

  ModelDescription description() const {
    return {std::is_same_v<Sparse, Dense> ? ModelFamily::vit : ModelFamily::custom, config, moe};
  }

  /// What images go through before this model sees them; loading sets it from the file's metadata.
  const Preprocessing& preprocessing() const { return preprocessing_; }
  void set_preprocessing(Preprocessing preprocessing) { preprocessing_ = std::move(preprocessing); }
  /// Names of the classes; empty if unknown.
  const std::vector<std::string>& class_names() const { return class_names_; }
  void set_class_names(std::vector<std::string> names) { class_names_ = std::move(names); }

 private:
  static constexpr ScratchBytes sparse_scratch(const RoutingOptions& options, Index images) {
    const Index rows = images * outputs_per_image;
    ScratchBytes parts = Sparse::scratch(options, images, config.tokens());
    parts.shared += arena_bytes<float>(rows * config.tokens() * config.dim);  // the normalised tokens
    parts = one_after_the_other(parts, model_router_scratch(images));
    return one_after_the_other(parts, Attention<config>::scratch(rows, config.tokens()));
  }
  /// Of a router of the whole model, where there is one.
  static constexpr ScratchBytes model_router_scratch(Index images) {
    if constexpr (router_of_model && requires { Sparse::RouterOfModel::scratch_bytes(images); })
      return {Sparse::RouterOfModel::scratch_bytes(images),
              router_worker_bytes(images * outputs_per_image, config.dim)};
    else
      return {};
  }

  /// What is reserved for: the model's own options, and k where it is given.
  static constexpr RoutingOptions reserved_routing(Index selected) {
    RoutingOptions reserved = routing_options(moe);
    if (selected) reserved.selected = selected;
    return reserved;
  }

  Context make_context(ContextOptions options, ExecutorRef executor) const {
    const Index images = std::max<Index>(options.images, 1);
    return make_context(options, executor, scratch(reserved_routing(options.selected), images));
  }
  Context make_context(ContextOptions options, ExecutorRef executor, ScratchBytes bytes) const {
    std::vector<int> sparse(static_cast<std::size_t>(config.depth), -1);
    int routings = 0;
    for (Index block = 0; block < config.depth; ++block)
      if (moe.placement.contains(block, config.depth))
        sparse[static_cast<std::size_t>(block)] = router_of_model ? 0 : routings++;
    if (router_of_model) routings = 1;
    Context context(bytes, options, executor, std::move(sparse), routings);
    context.routing = routing_options(moe);
    if constexpr (sparse_blocks > 0)
      for (Routing& record : context.routings())
        Sparse::reserve(record, reserved_routing(options.selected), options.images, config.tokens());
    return context;
  }

  static Index check(std::span<const float> images, std::span<float> outputs, const Context& context) {
    const auto values = static_cast<Index>(images.size()), room = static_cast<Index>(outputs.size());
    const Index count = values / config.image_values();
    if (values % config.image_values() != 0)
      fail("images: expected a multiple of ", config.image_values(), " values (", config.height(), " x ",
           config.width(), " x ", config.channels, "), found ", values);
    if (room != count * outputs_per_image * config.outputs())
      fail("outputs: expected ", count * outputs_per_image * config.outputs(), " values for ", count, " images, found ",
           room);
    if (count > context.images())
      fail("images: expected at most the ", context.images(), " that the context was made for, found ", count);
    if (context.depth() != config.depth)
      fail("context: expected one of a model with ", config.depth, " blocks, found one with ", context.depth());
    return count;
  }

  // Before the first sparse block: every image is copied once per member, and a router of the whole model decides.
  void enter_sparse_blocks(float* memory, Index count, Index& copies, int block, Context& context) const {
    copies = outputs_per_image;
    constexpr Index image = config.tokens() * config.dim;
    for (Index copy = count * copies - 1; copies > 1 && copy > 0; --copy)
      if (copy != copy / copies) std::copy_n(memory + copy / copies * image, image, memory + copy * image);
    if constexpr (router_of_model)
      router_.route({ConstMatrixView(memory, count * config.tokens(), config.dim), count, config.tokens(), 1, block,
                     static_cast<int>(config.depth), context.routing, context.workspace()},
                    context.routings().front());
  }

  static void observe(Context& context, int block, ConstMatrixView stream) {
    if (context.observer) context.observer->block_output(block, stream);
  }

  template <class T, class Self>
  static std::vector<BasicParameter<T>> list_parameters(Self& self) {
    std::vector<BasicParameter<T>> list;
    const CollectParameters<T> collect{list};
    const BasicParameterVisitor<T> visit(collect);
    PatchEmbedding<config>::each_parameter(self.embedding_, visit);
    if constexpr (router_of_model)
      if constexpr (requires { Sparse::RouterOfModel::each_parameter(self.router_, "router", visit); })
        Sparse::RouterOfModel::each_parameter(self.router_, "router", visit);
    Index dense = 0, sparse = 0;
    for (Index block = 0; block < config.depth; ++block) {
      const std::string prefix = numbered_name("blocks.", static_cast<std::size_t>(block));
      if constexpr (sparse_blocks > 0) {
        if (moe.placement.contains(block, config.depth)) {
          SparseBlock<config, Sparse>::each_parameter(self.sparse_.list[static_cast<std::size_t>(sparse++)], prefix,
                                                      visit);
          continue;
        }
      }
      if constexpr (dense_blocks > 0)
        DenseBlock<config>::each_parameter(self.dense_[static_cast<std::size_t>(dense++)], prefix, visit);
    }
    ClassifierHead<config>::each_parameter(self.head_, visit);
    return list;
  }

  static Preprocessing default_preprocessing() {
    return {.height = config.height(), .width = config.width(), .channels = config.channels};
  }

  PatchEmbedding<config> embedding_;
  DenseBlocks dense_;
  SparseBlocks<sparse_blocks> sparse_;
  typename Sparse::RouterOfModel router_;
  ClassifierHead<config> head_;
  Preprocessing preprocessing_ = default_preprocessing();
  std::vector<std::string> class_names_;
};

}  // namespace moevit
