/// Training passes of hierarchical models: of classifiers, and of backbones whose maps dense heads read.
#pragma once

#include <moevit/layers/batch_norm.hpp>
#include <moevit/models/backpropagation.hpp>
#include <moevit/models/hierarchical.hpp>
#include <moevit/models/stage_pass.hpp>

#include <optional>

namespace moevit {

template <class Family>
requires(HierarchicalTransformer<Family>::is_trainable)
    Backpropagation(const HierarchicalTransformer<Family>&, BackpropagationOptions = {})
->Backpropagation<HierarchicalTransformer<Family>>;

/// The passes of a HierarchicalTransformer, on images of the configured size by forward() and backward(), or of any
/// size up to options.largest by forward_maps() and backward_maps().
template <class Family>
class Backpropagation<HierarchicalTransformer<Family>> {
  using Net = HierarchicalTransformer<Family>;
  static constexpr Index stages = Net::stages;

 public:
  /// Adds the gradient of a block's auxiliary losses to that of its router's logits; empty: no losses.
  std::function<void(int block, const Routing& routing, MatrixView d_logits)> add_losses;

  /// What the next forward() leaves out, and the backward() after it, which must find it unchanged. Its rates must have
  /// passed their check().
  Drop drop;

  /// Throws Error when options make no sense.
  explicit Backpropagation(const Net& net, BackpropagationOptions options = {})
      : options_(options),
        largest_(options.largest.places() > 0 ? options.largest : Net::config.image_size()),
        reserved_(Net::reserved_routing(options.selected)),
        context_(net.make_context({.images = options.images, .threads = options.threads, .selected = options.selected},
                                  largest_, {}, scratch(reserved_, std::max<Index>(options.images, 1), largest_))),
        saved_memory_(saved_bytes(reserved_, options.images, options.checkpoint, largest_)) {}
  Backpropagation(const Backpropagation&) = delete;

  /// Routing options, plans and scratch. Options may be changed between passes as long as no router makes more choices
  /// than were reserved for.
  Context& context() { return context_; }

  /// Bytes of saved activations of images of this size.
  static constexpr Index saved_bytes(const RoutingOptions& options, Index images, bool checkpoint,
                                     MapSize image = Net::config.image_size()) {
    const typename Net::MapSizes sizes = Net::map_sizes(image);
    Index bytes = 0;
    Net::each_stage([&](auto stage) {
      bytes += Pass<stage>::saved_bytes(options, images, sizes[Net::template place<stage>], checkpoint);
    });
    return bytes;
  }
  /// Scratch of the passes beside that.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize image) {
    const typename Net::MapSizes sizes = Net::map_sizes(image);
    ScratchBytes bytes;
    if constexpr (Family::has_head)
      if (image == Net::config.image_size())
        bytes = one_after_the_other(Net::HeadType::scratch(images), Net::HeadType::training_scratch(images));
    Net::each_stage([&](auto stage) {
      bytes = one_after_the_other(bytes, Pass<stage>::scratch(options, images, sizes[Net::template place<stage>]));
      if constexpr (Family::has_output_norm(stage)) {
        const Index rows = images * sizes[Net::template place<stage> + 1].places();
        bytes = one_after_the_other(bytes, {Net::template OutputNorm<stage>::backward_bytes(rows), 0});
      }
    });
    return bytes;
  }

  /// As HierarchicalTransformer::forward, keeping what backward() needs until the next pass.
  void forward(const Net& net, std::span<const float> images, std::span<float> outputs) requires(Family::has_head) {
    const Index count = Net::check(images, outputs, context_);
    if (!run_stages(net, images, Net::config.image_size(), count)) return;
    net.head_.forward(last().output(), MatrixView(outputs.data(), count, Net::config.outputs()), context_.workspace());
  }
  /// From d_outputs, the gradient of the outputs of the last forward(), whose images must still be there: adds to
  /// grads, and assigns the gradient of the images to d_images unless it is empty. Once for each forward(). Throws
  /// Error when sizes do not fit.
  void backward(const Net& net, std::span<const float> d_outputs, Net& grads,
                std::span<float> d_images = {}) requires(Family::has_head) {
    const Index outputs = count_ * Net::config.outputs();
    if (std::ssize(d_outputs) != outputs)
      fail("backward: expected the gradient of ", outputs, " outputs of the last pass, found ", d_outputs.size());
    check_room(d_images);
    if (count_ == 0) return;
    net.head_.backward(last().output(), {d_outputs.data(), count_, Net::config.outputs()}, grads.head_,
                       last().d_output(), context_.workspace());
    stages_backward(net, grads, d_images, [](auto, bool) {});
  }

  /// As HierarchicalTransformer::forward_maps, keeping what backward_maps() needs until the next pass. Throws Error
  /// when sizes do not fit, or need more memory than was reserved.
  void forward_maps(const Net& net, std::span<const float> images, MapSize size, std::span<const MatrixView> maps) {
    const Index count = Net::check_maps(images, size, maps, context_);
    if (!run_stages(net, images, size, count)) return;
    Net::each_stage([&](auto stage) {
      const MatrixView& map = maps[Net::template place<stage>];
      if (map.rows() > 0)
        net.template give_map<stage>(pass<stage>().output(), pass<stage>().map(), map, context_.workspace());
    });
  }
  /// From d_maps, the gradients of the maps of the last forward_maps() (those without rows are 0): as backward().
  void backward_maps(const Net& net, std::span<const ConstMatrixView> d_maps, Net& grads,
                     std::span<float> d_images = {}) {
    Net::check_maps(images_, size_, d_maps, context_);
    check_room(d_images);
    if (count_ == 0) return;
    stages_backward(net, grads, d_images, [&](auto stage, bool assigned) {
      const MatrixView d = pass<stage>().d_output();
      if (!assigned) std::fill_n(d.data(), d.size(), 0.f);
      const ConstMatrixView& d_map = d_maps[Net::template place<stage>];
      if (d_map.rows() > 0) this->template map_backward<stage>(net, d_map, grads, d);
    });
  }

  /// Lets the running statistics of batch norms, if the model has any, follow those of the last pass: running +=
  /// momentum * (batch - running). Once for each training step, as they are not trained by gradients.
  void follow_statistics(Net& net, float momentum = batch_norm_momentum) {
    if (count_ == 0) return;
    Net::each_stage([&](auto stage) {
      pass<stage>().follow_statistics(std::get<Net::template place<stage>>(net.stages_), momentum);
    });
  }

 private:
  template <Index stage>
  using Pass = StagePass<Family, stage>;
  template <std::size_t... numbers>
  static auto passes_of(std::index_sequence<numbers...>)
      -> std::tuple<StagePass<Family, static_cast<Index>(numbers)>...>;
  using Passes = decltype(passes_of(std::make_index_sequence<static_cast<std::size_t>(stages)>()));

  template <Index stage>
  Pass<stage>& pass() {
    return std::get<static_cast<std::size_t>(stage)>(passes_);
  }
  Pass<stages - 1>& last() { return pass<stages - 1>(); }
  PassOfStages pass_of_stages() { return {context_, drop, Net::depth, options_.checkpoint, plan_, add_losses}; }

  void check_room(std::span<float> d_images) const {
    if (!d_images.empty() && d_images.size() != images_.size())
      fail("backward: expected room for ", images_.size(), " values of images, found ", d_images.size());
  }

  /// The maps before a stage.
  template <Index stage>
  ConstMatrixView before() {
    if constexpr (stage == 0)
      return {images_.data(), count_ * size_.places(), Net::config.channels};
    else
      return pass<stage - 1>().output();
  }

  bool run_stages(const Net& net, std::span<const float> images, MapSize size, Index count) {
    const Index needed = saved_bytes(reserved_, count, options_.checkpoint, size);
    if (needed > saved_memory_.capacity())
      fail("training pass: expected images that need at most the memory reserved for ", options_.images, " of ",
           largest_.height, " x ", largest_.width, ", found ", count, " of ", size.height, " x ", size.width);
    count_ = count, images_ = images, size_ = size;
    context_.start_pass();
    saved_.reset();
    if (count == 0) return false;
    context_.ensure(scratch(reserved_, count, size));
    saved_.emplace(saved_memory_);
    const typename Net::MapSizes sizes = Net::map_sizes(size);
    Net::each_stage([&](auto stage) {
      constexpr std::size_t place = Net::template place<stage>;
      pass<stage>().take_saved(reserved_, count, sizes[place], options_.checkpoint, saved_memory_);
      pass<stage>().forward(std::get<place>(net.stages_), this->template before<stage>(), pass_of_stages());
    });
    return true;
  }

  /// All stages back; before a stage, add(stage, assigned) brings in what is known of the gradient of its output, which
  /// the stage behind it has `assigned` or not.
  template <class Add>
  void stages_backward(const Net& net, Net& grads, std::span<float> d_images, Add add) {
    const MatrixView d_input(d_images.data(), d_images.empty() ? 0 : count_ * size_.places(), Net::config.channels);
    Net::each_stage([&](auto reversed) {
      constexpr Index stage = stages - 1 - reversed;
      constexpr std::size_t place = static_cast<std::size_t>(stage);
      add(std::integral_constant<Index, stage>(), stage < stages - 1);
      const MatrixView d_x = [&] {
        if constexpr (stage == 0)
          return d_input;
        else
          return pass<stage - 1>().d_output();
      }();
      pass<stage>().backward(std::get<place>(net.stages_), this->template before<stage>(),
                             std::get<place>(grads.stages_), d_x, pass_of_stages());
    });
  }

  /// d, the gradient of a stage's stream, += what the gradient of its map makes of it.
  template <Index stage>
  void map_backward(const Net& net, ConstMatrixView d_map, Net& grads, MatrixView d) {
    constexpr std::size_t place = static_cast<std::size_t>(stage);
    static_assert(Net::template StageType<stage>::AttentionType::class_tokens == 0,
                  "backward_maps: maps of stages with class tokens have no gradients");
    if constexpr (Family::has_output_norm(stage))
      std::get<place>(net.output_norms_)
          .backward(pass<stage>().output(), d_map, std::get<place>(grads.output_norms_), d, Family::epsilon,
                    context_.workspace());
    else
      for (Index row = 0; row < d.rows(); ++row)
        simd::add_scaled_row(1.f, d_map.row_data(row), d.cols(), d.row_data(row));
  }

  BackpropagationOptions options_;
  MapSize largest_;
  RoutingOptions reserved_;
  Context context_;
  Arena saved_memory_;
  std::optional<Arena::Scope> saved_;
  Passes passes_;
  PlanGradient plan_;
  std::span<const float> images_;
  MapSize size_;
  Index count_ = 0;
};

}  // namespace moevit
