/// Detection of objects: a backbone with an FCOS head, for images of any size.
#pragma once

#include <moevit/models/dense_model.hpp>
#include <moevit/models/fcos_decoding.hpp>
#include <moevit/models/fcos_head.hpp>

#include <span>
#include <vector>

namespace moevit {

/// Pixels between the places of the maps of all stages of a backbone.
template <class Backbone>
inline constexpr auto map_strides = [] {
  std::array<Index, static_cast<std::size_t>(Backbone::stages)> strides{};
  for (std::size_t stage = 0; stage < strides.size(); ++stage) strides[stage] = map_stride<Backbone>(stage);
  return strides;
}();

/// A detector, e.g. Detector<Swin<config>, FcosConfig{.classes = 20}>.
template <class Backbone, FcosConfig head>
class Detector : public DenseModel<Backbone, FcosHead<head, map_widths<Backbone>, map_strides<Backbone>>> {
  using Head = FcosHead<head, map_widths<Backbone>, map_strides<Backbone>>;
  using Base = DenseModel<Backbone, Head>;

 public:
  static constexpr Index classes = head.classes;

  /// Levels of the pyramid for images of a size.
  static constexpr auto levels_of(MapSize image) { return Head::level_list(Base::map_sizes(image)); }

  /// Bytes of scratch of detect() for up to `images` images of this size.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize image) {
    ScratchBytes bytes = Base::scratch(options, images, image);
    bytes.shared += arena_bytes<float>(Base::output_values(images, image));
    return bytes;
  }
  /// Everything that runs on images up to the size `largest` need but the detections, allocated now; larger ones
  /// allocate more. Throws Error when options make no sense.
  Context context(ContextOptions options, MapSize largest) const {
    Context context = this->backbone().context(options, largest);
    context.ensure(scratch(context.routing, context.images(), largest));
    return context;
  }

  /// What is seen in each of images[N x height x width x channels] of any one size, normalised; best first, boxes in
  /// pixels of these images. Throws Error when sizes do not fit the context, options make no sense, or the model's
  /// numbers are not finite.
  std::vector<std::vector<Detection>> detect(std::span<const float> images, MapSize size, Context& context,
                                             const DetectionOptions& options = {}) const {
    const Index count = Base::count_of(images, size, context), values = Base::output_values(count, size);
    context.ensure(scratch(context.routing, count, size));
    Arena& shared = context.workspace().shared();
    const Arena::Scope scope(shared);
    const std::span<float> outputs(shared.take<float>(values), static_cast<std::size_t>(values));
    this->forward(images, size, outputs, context);
    const auto levels = levels_of(size);
    return decode_fcos({std::span<const float>(outputs), count, classes, levels}, size, options);
  }
};

}  // namespace moevit
