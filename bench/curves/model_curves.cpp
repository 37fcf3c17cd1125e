/// Whole models against the batch and the size of the images.
#include "curves.hpp"
#include "random_values.hpp"
#include "sparse_layer.hpp"

#include <moevit/models/presets.hpp>

#include <memory>

namespace moevit::bench {
namespace {

/// Images that take turns through a model with random weights.
template <ModelDescription description>
double model_seconds(const Model<description>& net, Index images) {
  constexpr VitConfig vit = description.vit;
  constexpr Index inputs = 3;
  std::vector<std::vector<float>> x;
  for (unsigned input = 0; input < inputs; ++input)
    x.push_back(test::normal_values(images * vit.image_values(), 100 + input));
  std::vector<float> logits(static_cast<std::size_t>(images * vit.outputs()));
  Context context = net.context({.images = images});
  return time_runs([&](Index call) { net.forward(x[static_cast<std::size_t>(call % inputs)], logits, context); });
}

template <ModelDescription description>
std::unique_ptr<Model<description>> random_model() {
  auto net = std::make_unique<Model<description>>();
  test::randomise(net->parameters(), 7);
  return net;
}

template <ModelDescription description>
void batch_curve(const std::string& series, const Limits& limits) {
  const auto net = random_model<description>();
  for (const Index images : {1, 2, 4, 8, 16, 32})
    write_point("batch", series, static_cast<double>(images), model_seconds<description>(*net, images),
                static_cast<double>(images) * multiply_adds(description) / limits.multiply_adds_per_second);
}

constexpr ModelDescription vit_of(Index image) {
  ModelDescription model = presets::vit_tiny16;
  model.vit.image = image;
  return model;
}

template <Index... sizes>
void image_size_curve(const Limits& limits) {
  const auto point = [&]<Index size>(std::integral_constant<Index, size>) {
    constexpr ModelDescription description = vit_of(size);
    const auto net = random_model<description>();
    const double weights = bytes_read(net->parameters(), 1.);  // what takes the time of the smallest images
    const double seconds = model_seconds<description>(*net, 1);
    write_point("image size", "ViT-Tiny/16", static_cast<double>(size), seconds,
                limits.seconds(multiply_adds(description), weights, limits.bandwidth_of(weights)));
  };
  (point(std::integral_constant<Index, sizes>{}), ...);
}

}  // namespace

void model_curves(const Limits& limits) {
  batch_curve<presets::vit_tiny16>("ViT-Tiny/16", limits);
  batch_curve<presets::mobile_vmoe_12x192>("Mobile V-MoE 12x192/16", limits);
  image_size_curve<32, 64, 96, 128, 192, 224, 256, 320, 384>(limits);
}

}  // namespace moevit::bench
