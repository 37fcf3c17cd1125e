/// A backbone and a head that reads the maps of its stages, as one model: what segmenters and detectors share.
#pragma once

#include <moevit/models/hierarchical.hpp>

#include <array>
#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moevit {

/// A head of a dense task, for maps of all stages. It has
/// - Sizes, an array of the sizes of the maps; reads(stage): whether it needs the map of a stage,
/// - output_values(images, sizes): floats of its result, whose meaning is its own,
/// - Saved, take_saved(images, sizes, is_training, memory), saved_bytes(...), scratch(images, sizes),
///   training_scratch(images, sizes), forward(maps, sizes, images, saved, outputs, workspace),
///   backward(maps, sizes, images, saved, d_outputs, grads, d_maps, workspace), each_parameter.
template <class H>
concept DenseHead = requires(const H& head, const typename H::Sizes& sizes, std::span<const MatrixView> maps,
                             const typename H::Saved& saved, float* outputs, const float* d_outputs, H& grads,
                             Workspace& workspace) {
  { H::reads(std::size_t{}) } -> std::convertible_to<bool>;
  { H::output_values(Index{}, sizes) } -> std::same_as<Index>;
  { H::saved_bytes(Index{}, sizes, true) } -> std::same_as<Index>;
  { H::scratch(Index{}, sizes) } -> std::same_as<ScratchBytes>;
  { H::training_scratch(Index{}, sizes) } -> std::same_as<ScratchBytes>;
  head.forward(maps, sizes, Index{}, saved, outputs, workspace);
  head.backward(maps, sizes, Index{}, saved, d_outputs, grads, maps, workspace);
};

/// Channels of the maps of all stages of a backbone.
template <class Backbone>
inline constexpr auto map_widths = []<std::size_t... stages>(std::index_sequence<stages...>) {
  return std::array<Index, sizeof...(stages)>{Backbone::template StageType<static_cast<Index>(stages)>::dim...};
}
(std::make_index_sequence<static_cast<std::size_t>(Backbone::stages)>());

/// Pixels from one place of the map of a stage to the next.
template <class Backbone>
constexpr Index map_stride(std::size_t stage) {
  constexpr Index side = 4096;  // a multiple of every stride
  return side / Backbone::map_sizes({side, side})[stage + 1].height;
}

/// image of any size -> backbone -> maps -> head. A const model may serve any number of threads at once, each with its
/// own context; results do not depend on batch size, place in the batch or number of threads, as those of the backbone.
template <class Backbone, class Head>
class DenseModel {
  static_assert(DenseHead<Head>, "DenseModel: the head lacks something, see DenseHead");
  template <class>
  friend class Backpropagation;  // models/dense_backpropagation.hpp

 public:
  using BackboneType = Backbone;
  using HeadType = Head;
  static constexpr auto config = Backbone::config;
  static constexpr auto moe = Backbone::moe;
  static constexpr Index stages = Backbone::stages;
  static constexpr Index channels = config.channels;
  static constexpr Index sparse_blocks = Backbone::sparse_blocks;
  static constexpr Index depth = Backbone::depth;

  /// Sizes of the maps of all stages for images of a size.
  static constexpr typename Head::Sizes map_sizes(MapSize image) {
    const auto all = Backbone::map_sizes(image);
    typename Head::Sizes sizes;
    for (std::size_t stage = 0; stage < sizes.size(); ++stage) sizes[stage] = all[stage + 1];
    return sizes;
  }
  /// Floats that the head makes of images of a size.
  static constexpr Index output_values(Index images, MapSize image) {
    return Head::output_values(images, map_sizes(image));
  }

  /// Bytes of scratch of forward() for up to `images` images of this size.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize image) {
    const auto sizes = map_sizes(image);
    ScratchBytes head = Head::scratch(images, sizes);
    head.shared += Head::saved_bytes(images, sizes, false);
    const ScratchBytes part = one_after_the_other(Backbone::scratch(options, images, image), head);
    return {maps_bytes(images, sizes) + part.shared, part.per_worker};
  }

  /// Everything that runs on images up to the size `largest` need, allocated now; larger ones allocate more. Throws
  /// Error when options make no sense.
  Context context(ContextOptions options, MapSize largest) const {
    Context context = backbone_.context(options, largest);
    context.ensure(scratch(context.routing, context.images(), largest));
    return context;
  }

  /// outputs = what the head makes of images[N x height x width x channels] of one size, normalised. Throws Error when
  /// sizes do not fit the model and the context.
  void forward(std::span<const float> images, MapSize size, std::span<float> outputs, Context& context) const {
    const Index count = count_of(images, size, context);
    if (std::ssize(outputs) != output_values(count, size))
      fail("outputs: expected ", output_values(count, size), " values for ", count, " images of ", size.height, " x ",
           size.width, ", found ", outputs.size());
    if (count == 0) return;
    context.ensure(scratch(context.routing, count, size));
    Arena& shared = context.workspace().shared();
    const Arena::Scope scope(shared);
    const auto sizes = map_sizes(size);
    const auto maps = take_maps(count, sizes, shared);
    backbone_.forward_maps(images, size, maps, context);
    head_.forward(maps, sizes, count, Head::take_saved(count, sizes, false, shared), outputs.data(),
                  context.workspace());
  }

  const Backbone& backbone() const { return backbone_; }
  Backbone& backbone() { return backbone_; }
  const Head& head() const { return head_; }
  Head& head() { return head_; }

  /// All parameters by name, in a fixed order: those of the backbone, "backbone.stages.0...", without the classifier
  /// that it may have, then "head...".
  std::vector<Parameter> parameters() { return list_parameters<float>(*this); }
  std::vector<ConstParameter> parameters() const { return list_parameters<const float>(*this); }

  /// Of the backbone; what the head is shows in its parameters.
  ModelDescription description() const { return backbone_.description(); }

  /// What images go through before this model sees them; its size is that of training images.
  const Preprocessing& preprocessing() const { return backbone_.preprocessing(); }
  void set_preprocessing(Preprocessing preprocessing) { backbone_.set_preprocessing(std::move(preprocessing)); }
  /// Names of the classes; empty if unknown.
  const std::vector<std::string>& class_names() const { return backbone_.class_names(); }
  void set_class_names(std::vector<std::string> names) { backbone_.set_class_names(std::move(names)); }

  static bool is_of_backbone(std::string_view parameter) { return parameter.starts_with("backbone."); }

 protected:
  /// How many images these are. Throws Error when sizes do not fit the context.
  static Index count_of(std::span<const float> images, MapSize size, const Context& context) {
    return Backbone::count_of(images, size, context);
  }

 private:
  static constexpr Index map_rows(std::size_t stage, Index images, const typename Head::Sizes& sizes) {
    return Head::reads(stage) ? images * sizes[stage].places() : 0;
  }
  static constexpr Index maps_bytes(Index images, const typename Head::Sizes& sizes) {
    Index bytes = 0;
    for (std::size_t stage = 0; stage < sizes.size(); ++stage)
      bytes += arena_bytes<float>(map_rows(stage, images, sizes) * map_widths<Backbone>[stage]);
    return bytes;
  }
  /// The maps that the head reads; those of other stages have no rows.
  static auto take_maps(Index images, const typename Head::Sizes& sizes, Arena& memory) {
    const auto take = [&](std::size_t stage) {
      const Index rows = map_rows(stage, images, sizes), width = map_widths<Backbone>[stage];
      return MatrixView(memory.take<float>(rows * width), rows, width);
    };
    return [&]<std::size_t... numbers>(std::index_sequence<numbers...>) {
      return std::array<MatrixView, sizeof...(numbers)>{take(numbers)...};
    }
    (std::make_index_sequence<static_cast<std::size_t>(stages)>());
  }

  template <class T, class Self>
  static std::vector<BasicParameter<T>> list_parameters(Self& self) {
    std::vector<BasicParameter<T>> list;
    for (auto& parameter : self.backbone_.parameters())
      if (parameter.name.starts_with("stages.")) {
        parameter.name = join_name("backbone", parameter.name);
        list.push_back(std::move(parameter));
      }
    Head::each_parameter(self.head_, "head", CollectParameters<T>{list});
    return list;
  }

  Backbone backbone_;
  Head head_;
};

}  // namespace moevit
