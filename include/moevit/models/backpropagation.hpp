/// Training passes of a whole model: forward with what backward needs, and backward.
#pragma once

#include <moevit/models/drop.hpp>
#include <moevit/models/vit.hpp>

namespace moevit {

/// What training passes are made for.
struct BackpropagationOptions {
  Index images = 1;         ///< most images of one pass
  Index threads = 1;        ///< threads of a pool of its own; 1: the calling thread
  Index selected = 0;       ///< largest k that will be asked for; 0: the model's own
  bool checkpoint = false;  ///< blocks are computed again in backward: only their inputs are saved
  /// Hierarchical models: size of the images that memory is reserved for; no places: the configured size.
  MapSize largest = {};
};

namespace detail {
template <class Block>
struct SavedOf {
  using type = typename Block::Saved;
};
template <>
struct SavedOf<Nothing> {
  using type = Nothing;
};
}  // namespace detail

/// Runs forward and backward passes of one type of model; used by one thread at a time. Everything that a pass needs is
/// allocated when it is made.
///
///     Backpropagation run(net, {.images = 64, .threads = 2});
///     run.forward(net, images, outputs);
///     run.backward(net, d_outputs, gradients);   // adds to gradients, another object of the model's type
template <class Net>
class Backpropagation;

template <VitConfig config, class Sparse>
requires(Sparse::is_trainable) Backpropagation(const Vit<config, Sparse>&, BackpropagationOptions = {})
->Backpropagation<Vit<config, Sparse>>;

/// The passes of a Vit.
template <VitConfig config, class Sparse>
class Backpropagation<Vit<config, Sparse>> {
  using Net = Vit<config, Sparse>;
  using SparseBlockType = std::conditional_t<(Net::sparse_blocks > 0), SparseBlock<config, Sparse>, Nothing>;
  using DenseBlockType = DenseBlock<config>;
  static constexpr Index copies_ = Net::outputs_per_image;
  static constexpr Index tokens = config.tokens(), dim = config.dim;

 public:
  /// Adds the gradient of a block's auxiliary losses to that of its router's logits; empty: no losses. A router of the
  /// whole model is asked for with its first block.
  std::function<void(int block, const Routing& routing, MatrixView d_logits)> add_losses;

  /// What the next forward() leaves out, and the backward() after it, which must find it unchanged. Its rates must have
  /// passed their check().
  Drop drop;

  /// Throws Error when options make no sense.
  explicit Backpropagation(const Net& net, BackpropagationOptions options = {})
      : options_(options),
        reserved_(Net::reserved_routing(options.selected)),
        context_(net.make_context({.images = options.images, .threads = options.threads, .selected = options.selected},
                                  {}, scratch(reserved_, std::max<Index>(options.images, 1)))),
        saved_memory_(saved_bytes(reserved_, options.images, options.checkpoint)) {
    take_saved();
  }
  Backpropagation(const Backpropagation&) = delete;

  /// Routing options, plans and scratch. Options may be changed between passes as long as no router makes more choices
  /// than were reserved for.
  Context& context() { return context_; }

  /// Bytes of saved activations, exactly what is allocated for them.
  static constexpr Index saved_bytes(const RoutingOptions& options, Index images, bool checkpoint) {
    const Index rows = images * tokens * copies_;
    Index streams = (config.depth + 2) * arena_bytes<float>(rows * dim), dense = 0, sparse = 0;
    if constexpr (Net::dense_blocks > 0) dense = DenseBlockType::saved_bytes(rows);
    if constexpr (Net::sparse_blocks > 0) sparse = SparseBlockType::saved_bytes(options, images);
    return streams + (checkpoint ? dense + sparse : Net::dense_blocks * dense + Net::sparse_blocks * sparse);
  }
  /// Scratch of the passes beside that.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images) {
    const Index rows = images * copies_;
    ScratchBytes bytes = one_after_the_other(
        one_after_the_other(PatchEmbedding<config>::scratch(), ClassifierHead<config>::scratch(rows)),
        one_after_the_other(PatchEmbedding<config>::training_scratch(images),
                            ClassifierHead<config>::training_scratch(rows)));
    bytes = one_after_the_other(bytes, Net::model_router_scratch(images));
    if constexpr (Net::dense_blocks > 0) bytes = one_after_the_other(bytes, DenseBlockType::training_scratch(rows));
    if constexpr (Net::sparse_blocks > 0)
      bytes = one_after_the_other(bytes, SparseBlockType::training_scratch(options, images));
    if constexpr (Net::router_of_model && LearningRouter<typename Sparse::RouterOfModel>)
      bytes = one_after_the_other(bytes, Sparse::RouterOfModel::backward_scratch(images));
    return bytes;
  }

  /// As Vit::forward, keeping what backward() needs until the next pass.
  void forward(const Net& net, std::span<const float> images, std::span<float> outputs) {
    count_ = Net::check(images, outputs, context_);
    images_ = images;
    context_.start_pass();
    if (count_ == 0) return;
    net.embedding_.forward(images, stream(0), context_.workspace());
    mask_embedding(stream(0));
    for (int block = 0; block < config.depth; ++block) forward_block(net, block, false);
    net.head_.forward(ConstMatrixView(stream(static_cast<int>(config.depth))),
                      MatrixView(outputs.data(), count_ * copies_, config.outputs()), context_.workspace());
  }

  /// From d_outputs, the gradient of the outputs of the last forward(), whose images must still be there: adds to
  /// grads, and assigns the gradient of the images to d_images unless it is empty. Once for each forward(). Throws
  /// Error when sizes do not fit.
  void backward(const Net& net, std::span<const float> d_outputs, Net& grads, std::span<float> d_images = {}) {
    const Index outputs = count_ * copies_ * config.outputs();
    if (std::ssize(d_outputs) != outputs)
      fail("backward: expected the gradient of ", outputs, " outputs of the last pass, found ", d_outputs.size());
    if (!d_images.empty() && d_images.size() != images_.size())
      fail("backward: expected room for ", images_.size(), " values of images, found ", d_images.size());
    if (count_ == 0) return;
    const MatrixView d(d_stream_, count_ * copies_ * tokens, dim);
    net.head_.backward(stream(static_cast<int>(config.depth)), {d_outputs.data(), count_ * copies_, config.outputs()},
                       grads.head_, d, context_.workspace());
    for (int block = static_cast<int>(config.depth) - 1; block >= 0; --block) backward_block(net, block, grads);
    const MatrixView d_tokens(d_stream_, count_ * tokens, dim);
    mask_embedding(d_tokens);
    net.embedding_.backward(images_, d_tokens, grads.embedding_, d_images, context_.workspace());
  }

 private:
  static bool is_sparse(int block) { return Net::moe.placement.contains(block, config.depth); }
  static int first_sparse() { return static_cast<int>(Net::moe.placement.first(config.depth)); }
  /// The place of a block among those of its kind.
  static std::size_t place_of(int block) {
    std::size_t place = 0;
    for (int i = 0; i < block; ++i) place += is_sparse(i) == is_sparse(block);
    return place;
  }
  /// Copies of each image in the stream that enters a block, or behind the last one.
  static Index copies_at(int block) { return block > first_sparse() ? copies_ : 1; }

  /// The stream that enters a block, before images are copied for an ensemble.
  MatrixView stream(int block) const {
    return {streams_[static_cast<std::size_t>(block)], count_ * copies_at(block) * tokens, dim};
  }

  void take_saved() {
    const Index rows = options_.images * tokens * copies_;
    for (Index i = 0; i <= config.depth; ++i) streams_.push_back(saved_memory_.take<float>(rows * dim));
    d_stream_ = saved_memory_.take<float>(rows * dim);
    const auto sets = [&](Index blocks) { return options_.checkpoint ? std::min<Index>(blocks, 1) : blocks; };
    if constexpr (Net::dense_blocks > 0)
      for (Index i = 0; i < sets(Net::dense_blocks); ++i)
        dense_.push_back(DenseBlockType::take_saved(rows, saved_memory_));
    if constexpr (Net::sparse_blocks > 0)
      for (Index i = 0; i < sets(Net::sparse_blocks); ++i)
        sparse_.push_back(SparseBlockType::take_saved(reserved_, options_.images, saved_memory_));
  }
  template <class List>
  auto& saved_of(List& list, int block) const {
    return list[options_.checkpoint ? 0 : place_of(block)];
  }

  /// What was saved of a pass over fewer images than there is room for: its first rows.
  typename DenseBlockType::Saved dense_saved(int block) const {
    return saved_of(dense_, block).rows_of(0, count_ * copies_at(block) * tokens);
  }
  auto sparse_saved(int block) const {
    const auto& all = saved_of(sparse_, block);
    const Index rows = count_ * copies_ * tokens;
    return typename SparseBlockType::Saved{all.attention.rows_of(0, rows), all.middle.rows_of(0, rows), all.sparse};
  }

  void mask_embedding(MatrixView rows) {
    if (const ElementMask mask = drop.embedding(); mask.is_active())
      context_.workspace().parallel_rows(rows.rows(), 256, [&](Index first, Index count, Arena&) {
        for (Index row = first; row < first + count; ++row) mask.apply(row, rows.row_data(row), dim);
      });
  }
  /// The stream behind a block is not needed any more when the block goes back, so it lends its room.
  BlockMasks masks_of(int block) const {
    BlockMasks masks = drop.block(block, config.depth, tokens, is_sparse(block));
    masks.room = streams_[static_cast<std::size_t>(block) + 1];
    return masks;
  }

  void forward_block(const Net& net, int block, bool again) {
    Workspace& workspace = context_.workspace();
    if constexpr (Net::sparse_blocks > 0)
      if (is_sparse(block)) {
        if (block == first_sparse() && !again) {
          Index copies = 1;
          net.enter_sparse_blocks(streams_[static_cast<std::size_t>(block)], count_, copies, block, context_);
        }
        net.sparse_.list[place_of(block)].forward_saved(entering(block), count_, copies_, block, sparse_saved(block),
                                                        again, stream(block + 1), context_, masks_of(block));
        return;
      }
    if constexpr (Net::dense_blocks > 0)
      net.dense_[place_of(block)].forward_saved(entering(block), dense_saved(block), stream(block + 1), workspace,
                                                masks_of(block));
  }

  /// The stream that a block computes with: behind the copying for an ensemble.
  MatrixView entering(int block) const {
    const Index copies = block >= first_sparse() ? copies_ : 1;
    return {streams_[static_cast<std::size_t>(block)], count_ * copies * tokens, dim};
  }

  void backward_block(const Net& net, int block, Net& grads) {
    if (options_.checkpoint) forward_block(net, block, true);
    const MatrixView d(d_stream_, entering(block).rows(), dim);
    if (is_sparse(block)) {
      if constexpr (Net::sparse_blocks > 0) sparse_backward(net, block, grads, d);
    } else {
      if constexpr (Net::dense_blocks > 0)
        net.dense_[place_of(block)].backward(entering(block), dense_saved(block), grads.dense_[place_of(block)], d,
                                             context_.workspace(), masks_of(block));
    }
  }

  void sparse_backward(const Net& net, int block, Net& grads, MatrixView d) {
    AddLossGradient losses;
    if (add_losses) losses = [&](const Routing& routing, MatrixView d_logits) { add_losses(block, routing, d_logits); };
    const bool is_last = block + 1 == config.depth;
    if (Net::router_of_model && is_last) plan_.start(context_.plan(block));
    net.sparse_.list[place_of(block)].backward(entering(block), count_, copies_, block, sparse_saved(block),
                                               grads.sparse_.list[place_of(block)], plan_, losses, d, context_,
                                               masks_of(block));
    if (block != first_sparse()) return;
    if constexpr (Net::router_of_model && LearningRouter<typename Sparse::RouterOfModel>)
      net.router_.backward({entering(block), count_, tokens, 1, block, static_cast<int>(config.depth), context_.routing,
                            context_.workspace()},
                           context_.routing_of(block), plan_, losses, grads.router_, d);
    merge_copies();
  }

  /// The gradient of an image is the sum of those of its copies.
  void merge_copies() {
    constexpr Index image = tokens * dim;
    for (Index copy = 1; copies_ > 1 && copy < count_ * copies_; ++copy) {
      float* target = d_stream_ + copy / copies_ * image;
      if (copy % copies_ == 0)
        std::copy_n(d_stream_ + copy * image, image, target);
      else
        simd::add_scaled_row(1.f, d_stream_ + copy * image, image, target);
    }
  }

  BackpropagationOptions options_;
  RoutingOptions reserved_;
  Context context_;
  Arena saved_memory_;
  std::vector<float*> streams_;  ///< depth + 1
  float* d_stream_ = nullptr;
  std::vector<typename DenseBlockType::Saved> dense_;
  std::vector<typename detail::SavedOf<SparseBlockType>::type> sparse_;
  PlanGradient plan_;
  std::span<const float> images_;
  Index count_ = 0;
};

}  // namespace moevit
