/// Training passes of models with a backbone and a dense head.
#pragma once

#include <moevit/models/dense_model.hpp>
#include <moevit/models/hierarchical_backpropagation.hpp>

#include <optional>
#include <type_traits>
#include <vector>

namespace moevit {

namespace detail {
/// The class that runs passes of a model of this type.
template <class Net>
using PassesOf = std::remove_cvref_t<decltype(Backpropagation(std::declval<const Net&>()))>;
}  // namespace detail

template <class Backbone, class Head>
Backpropagation(const DenseModel<Backbone, Head>&, BackpropagationOptions = {})
    -> Backpropagation<DenseModel<Backbone, Head>>;

/// The passes of a DenseModel, on images of any size up to options.largest; those of one pass have one size.
template <class Backbone, class Head>
class Backpropagation<DenseModel<Backbone, Head>> {
  using Net = DenseModel<Backbone, Head>;
  using BackboneRun = detail::PassesOf<Backbone>;
  using Sizes = typename Head::Sizes;

 public:
  /// Throws Error when options make no sense.
  explicit Backpropagation(const Net& net, BackpropagationOptions options = {})
      : run_(net.backbone_, options),
        images_(options.images),
        largest_(options.largest.places() > 0 ? options.largest : Net::config.image_size()),
        memory_(saved_bytes(options.images, largest_)) {
    context().ensure(scratch(options.images, largest_));
  }
  Backpropagation(const Backpropagation&) = delete;

  /// Of the backbone: see there. Losses of its routers and stochastic depth are set here.
  BackboneRun& backbone() { return run_; }
  /// Routing options, plans and scratch.
  Context& context() { return run_.context(); }

  /// Bytes that are kept from forward() to backward() beside what the backbone keeps: maps, their gradients, outputs,
  /// and what the head saves.
  static constexpr Index saved_bytes(Index images, MapSize image) {
    const Sizes sizes = Net::map_sizes(image);
    return 2 * Net::maps_bytes(images, sizes) + arena_bytes<float>(Net::output_values(images, image)) +
           Head::saved_bytes(images, sizes, true);
  }
  static constexpr ScratchBytes scratch(Index images, MapSize image) {
    const Sizes sizes = Net::map_sizes(image);
    return one_after_the_other(Head::scratch(images, sizes), Head::training_scratch(images, sizes));
  }

  /// As DenseModel::forward, keeping what backward() needs until the next pass. Returns the outputs of the head. Throws
  /// Error when sizes do not fit, or need more memory than was reserved.
  std::span<float> forward(const Net& net, std::span<const float> images, MapSize size) {
    const Index count = Net::count_of(images, size, context());
    if (saved_bytes(count, size) > memory_.capacity())
      fail("training pass: expected images that need at most the memory reserved for ", images_, " of ",
           largest_.height, " x ", largest_.width, ", found ", count, " of ", size.height, " x ", size.width);
    count_ = count, sizes_ = Net::map_sizes(size);
    scope_.reset();
    scope_.emplace(memory_);
    maps_.clear(), d_maps_.clear(), d_map_views_.clear();
    for (const MatrixView& map : Net::take_maps(count, sizes_, memory_)) maps_.push_back(map);
    for (const MatrixView& map : Net::take_maps(count, sizes_, memory_))
      d_maps_.push_back(map), d_map_views_.push_back(map);
    const auto values = static_cast<std::size_t>(Net::output_values(count, size));
    outputs_ = {memory_.take<float>(static_cast<Index>(values)), values};
    saved_ = Head::take_saved(count, sizes_, true, memory_);
    run_.forward_maps(net.backbone_, images, size, maps_);
    context().ensure(scratch(count, size));
    if (count > 0) net.head_.forward(maps_, sizes_, count, saved_, outputs_.data(), context().workspace());
    return outputs_;
  }

  /// From d_outputs, the gradient of the outputs of the last forward(), whose images must still be there: adds to
  /// grads, and assigns the gradient of the images to d_images unless it is empty. Once for each forward(). Throws
  /// Error when sizes do not fit.
  void backward(const Net& net, std::span<const float> d_outputs, Net& grads, std::span<float> d_images = {}) {
    if (d_outputs.size() != outputs_.size())
      fail("backward: expected the gradient of ", outputs_.size(), " outputs of the last pass, found ",
           d_outputs.size());
    if (count_ > 0)
      net.head_.backward(maps_, sizes_, count_, saved_, d_outputs.data(), grads.head_, d_maps_, context().workspace());
    run_.backward_maps(net.backbone_, d_map_views_, grads.backbone_, d_images);
  }

 private:
  BackboneRun run_;
  Index images_;
  MapSize largest_;
  Arena memory_;
  std::optional<Arena::Scope> scope_;
  std::vector<MatrixView> maps_, d_maps_;
  std::vector<ConstMatrixView> d_map_views_;
  std::span<float> outputs_;
  typename Head::Saved saved_;
  Sizes sizes_{};
  Index count_ = 0;
};

}  // namespace moevit
