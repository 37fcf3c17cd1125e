/// Semantic segmentation: a backbone with a UPerNet head, for images of any size.
#pragma once

#include <moevit/models/dense_model.hpp>
#include <moevit/models/sliding_window.hpp>
#include <moevit/models/upernet_head.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace moevit {

/// A segmenter, e.g. Segmenter<Swin<config>, UperNetConfig{.width = 256, .classes = 21}>.
template <class Backbone, UperNetConfig head>
class Segmenter : public DenseModel<Backbone, UperNetHead<head, map_widths<Backbone>>> {
  using Base = DenseModel<Backbone, UperNetHead<head, map_widths<Backbone>>>;

 public:
  static constexpr Index classes = head.classes;

  /// Bytes of scratch of segment() for up to `images` images of this size.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, Index images, MapSize image) {
    ScratchBytes bytes = Base::scratch(options, images, image);
    bytes.shared += arena_bytes<float>(Base::output_values(images, image));
    return bytes;
  }
  /// The same with windows, which are cut from one image after the other.
  static constexpr ScratchBytes scratch(const RoutingOptions& options, const SlidingWindow& sliding, MapSize image) {
    const MapSize window = sliding.window_of(image);
    ScratchBytes bytes = scratch(options, 1, window);
    bytes.shared +=
        arena_bytes<float>(window.places() * Base::channels) + arena_bytes<float>(window.places() * classes);
    return bytes;
  }

  /// Everything that runs on images up to the size `largest` need, allocated now; larger ones allocate more. Throws
  /// Error when options make no sense.
  Context context(ContextOptions options, MapSize largest) const {
    Context context = this->backbone().context(options, largest);
    context.ensure(scratch(context.routing, context.images(), largest));
    return context;
  }

  /// logits[N x height x width x classes] of images[N x height x width x channels] of any one size, normalised: those
  /// of the first map, resized bilinearly. Throws Error when sizes do not fit the context.
  void segment(std::span<const float> images, MapSize size, std::span<float> logits, Context& context) const {
    const Index count = Base::count_of(images, size, context);
    check_logits(count, size, logits);
    if (count == 0) return;
    context.ensure(scratch(context.routing, count, size));
    Arena& shared = context.workspace().shared();
    const Arena::Scope scope(shared);
    const auto values = static_cast<std::size_t>(Base::output_values(count, size));
    const std::span<float> outputs(shared.take<float>(Base::output_values(count, size)), values);
    this->forward(images, size, outputs, context);
    const MapSize map = Base::map_sizes(size)[0];
    resize_map({outputs.data(), count * map.places(), classes}, map, count,
               {logits.data(), count * size.places(), classes}, size, context.workspace());
  }

  /// The same by windows of images, the logits of whose overlaps are averaged: large images need the memory of one
  /// window, and are seen at the size that the model was trained with. Where one window covers an image it is
  /// segment().
  void segment(std::span<const float> images, MapSize size, std::span<float> logits, Context& context,
               const SlidingWindow& sliding) const {
    const Index count = Base::count_of(images, size, context);
    check_logits(count, size, logits);
    sliding.check();
    if (sliding.window_of(size) == size) return segment(images, size, logits, context);
    context.ensure(scratch(context.routing, sliding, size));
    const Index pixels = size.places();
    for (Index image = 0; image < count; ++image)
      slide({images.data() + image * pixels * Base::channels, pixels, Base::channels}, size,
            {logits.data() + image * pixels * classes, pixels, classes}, context, sliding);
  }

 private:
  static void check_logits(Index count, MapSize size, std::span<const float> logits) {
    if (std::ssize(logits) != count * size.places() * classes)
      fail("logits: expected ", count * size.places() * classes, " values for ", count, " images of ", size.height,
           " x ", size.width, ", found ", logits.size());
  }

  void slide(ConstMatrixView image, MapSize size, MatrixView logits, Context& context,
             const SlidingWindow& sliding) const {
    Arena& shared = context.workspace().shared();
    const Arena::Scope scope(shared);
    const MapSize window = sliding.window_of(size);
    const MatrixView pixels(shared.take<float>(window.places() * Base::channels), window.places(), Base::channels);
    const MatrixView own(shared.take<float>(window.places() * classes), window.places(), classes);
    const WindowsAlong rows(size.height, window.height, sliding.stride.height);
    const WindowsAlong columns(size.width, window.width, sliding.stride.width);
    std::fill_n(logits.data(), logits.size(), 0.f);
    for (Index i = 0; i < rows.count(); ++i)
      for (Index j = 0; j < columns.count(); ++j) {
        const Index top = rows.start(i), left = columns.start(j);
        const auto in_image = [&](Index row) { return (top + row) * size.width + left; };
        context.workspace().parallel(window.height, [&](Index row, Arena&) {
          std::copy_n(image.row_data(in_image(row)), window.width * Base::channels,
                      pixels.row_data(row * window.width));
        });
        segment({pixels.data(), static_cast<std::size_t>(pixels.size())}, window,
                {own.data(), static_cast<std::size_t>(own.size())}, context);
        context.workspace().parallel(window.height, [&](Index row, Arena&) {
          simd::add_scaled_row(1.f, own.row_data(row * window.width), window.width * classes,
                               logits.row_data(in_image(row)));
        });
      }
    for (Index row = 0; row < size.height; ++row)
      for (Index column = 0; column < size.width; ++column) {
        const auto windows = static_cast<float>(rows.covering(row) * columns.covering(column));
        float* values = logits.row_data(row * size.width + column);
        for (Index i = 0; i < classes; ++i) values[i] /= windows;
      }
  }
};

/// The class with the largest logit of every pixel; the lowest of several. logits: pixels x classes.
inline void top_classes_of_pixels(ConstMatrixView logits, std::span<std::int32_t> classes) {
  if (std::ssize(classes) != logits.rows())
    fail("classes of pixels: expected room for ", logits.rows(), ", found ", classes.size());
  for (Index pixel = 0; pixel < logits.rows(); ++pixel) {
    const float* values = logits.row_data(pixel);
    classes[static_cast<std::size_t>(pixel)] =
        static_cast<std::int32_t>(std::max_element(values, values + logits.cols()) - values);
  }
}

/// The same for an image of another size than the map of the logits, which are resized bilinearly, as resize_map()
/// does: large images need no room for logits of their own. Throws Error for a map without places.
inline void top_classes_of_pixels(ConstMatrixView logits, MapSize map, std::span<std::int32_t> classes, MapSize image) {
  if (logits.rows() != map.places() || std::ssize(classes) != image.places())
    fail("classes of pixels: expected logits of ", map.places(), " places and room for ", image.places(), ", found ",
         logits.rows(), " and ", classes.size());
  const ResizeAxis rows(map.height, image.height), columns(map.width, image.width);
  std::vector<float> values(static_cast<std::size_t>(logits.cols()));
  for (Index y = 0; y < image.height; ++y)
    for (Index x = 0; x < image.width; ++x) {
      detail::sum_places(
          logits, map.width, rows.sources(y), columns.sources(x), [&](Index row) { return rows.weight(y, row); },
          [&](Index column) { return columns.weight(x, column); }, values.data());
      classes[static_cast<std::size_t>(y * image.width + x)] =
          static_cast<std::int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
    }
}

}  // namespace moevit
