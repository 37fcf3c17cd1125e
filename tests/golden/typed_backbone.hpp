/// Backbones of compile-time configurations, which give maps of images of any size, behind a run-time interface.
#pragma once

#include "golden/typed.hpp"

#include <span>

namespace moevit::test {

/// A backbone of any configuration.
class AnyBackbone {
 public:
  virtual ~AnyBackbone() = default;
  virtual std::vector<Parameter> parameters() = 0;
  virtual ModelDescription description() const = 0;
  virtual std::unique_ptr<AnyBackbone> same_type() const = 0;
  /// Sizes of the image and of the maps of all stages, and the widths of these.
  virtual std::vector<MapSize> map_sizes(MapSize image) const = 0;
  virtual std::vector<Index> widths() const = 0;
  virtual void forward_maps(std::span<const float> images, MapSize size, std::span<const MatrixView> maps,
                            Index threads) const = 0;
  /// Adds the gradients of a loss with the gradients d_maps to another backbone of this type; that of the images is
  /// assigned.
  virtual void gradients(std::span<const float> images, MapSize size, std::span<const MatrixView> maps,
                         std::span<const ConstMatrixView> d_maps, AnyBackbone& grads,
                         std::span<float> d_images) const = 0;
};

template <class Model>
class TypedBackbone : public AnyBackbone {
 public:
  std::vector<Parameter> parameters() override { return model_.parameters(); }
  ModelDescription description() const override { return model_.description(); }
  std::unique_ptr<AnyBackbone> same_type() const override { return std::make_unique<TypedBackbone>(); }
  std::vector<MapSize> map_sizes(MapSize image) const override {
    const auto sizes = Model::map_sizes(image);
    return {sizes.begin(), sizes.end()};
  }
  std::vector<Index> widths() const override {
    std::vector<Index> widths;
    for (Index stage = 0; stage < Model::stages; ++stage) widths.push_back(Model::config.stage_dim(stage));
    return widths;
  }
  void forward_maps(std::span<const float> images, MapSize size, std::span<const MatrixView> maps,
                    Index threads) const override {
    Context context = model_.context({.images = count_of(images, size), .threads = threads}, size);
    model_.forward_maps(images, size, maps, context);
  }
  void gradients(std::span<const float> images, MapSize size, std::span<const MatrixView> maps,
                 std::span<const ConstMatrixView> d_maps, AnyBackbone& grads,
                 std::span<float> d_images) const override {
    Backpropagation run(model_, {.images = count_of(images, size), .largest = size});
    run.forward_maps(model_, images, size, maps);
    run.backward_maps(model_, d_maps, dynamic_cast<TypedBackbone&>(grads).model_, d_images);
  }

 private:
  static Index count_of(std::span<const float> images, MapSize size) {
    return static_cast<Index>(images.size()) / (size.places() * Model::config.channels);
  }

  Model model_;
};

template <class Typed>
using BackboneFor = Registration<AnyBackbone, Typed>;

}  // namespace moevit::test
