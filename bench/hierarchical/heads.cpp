/// Heads of dense tasks, and the convolution that they are made of.
#include "hierarchical/make_network.hpp"

#include <moevit/models/fcos_head.hpp>
#include <moevit/models/upernet_head.hpp>

namespace moevit::bench {
namespace {

constexpr std::array<Index, 4> widths{96, 192, 384, 768}, strides{4, 8, 16, 32};
constexpr std::array<MapSize, 4> sizes{MapSize{56, 56}, MapSize{28, 28}, MapSize{14, 14}, MapSize{7, 7}};
constexpr ConvolutionWindow window{3, 1, 1};

constexpr Index convolution_multiply_adds(Index places, Index inputs, Index outputs, Index taps = 9) {
  return places * taps * inputs * outputs;
}

/// One image; pooled maps, resizing and norms do not count.
constexpr Index upernet_multiply_adds(const UperNetConfig& config) {
  const Index width = config.width, last = sizes.size() - 1, first_places = sizes[0].places();
  Index count = convolution_multiply_adds(sizes[last].places(), widths[last] + 4 * width, width);
  for (std::size_t i = 0; i < static_cast<std::size_t>(last); ++i)
    count += convolution_multiply_adds(sizes[i].places(), widths[i], width, 1) +
             convolution_multiply_adds(sizes[i].places(), width, width);
  return count + convolution_multiply_adds(first_places, 4 * width, width) +
         convolution_multiply_adds(first_places, width, config.classes, 1);
}

template <class Head>
Index fcos_multiply_adds(const FcosConfig& config) {
  const Index width = config.width, read = static_cast<Index>(sizes.size()) - config.first_stage;
  Index count = 0;
  for (Index i = 0; const FcosLevel& level : Head::level_list(sizes)) {
    const Index places = level.size.places();
    if (i < read)
      count += convolution_multiply_adds(places, widths[static_cast<std::size_t>(config.first_stage + i)], width, 1);
    count += (1 + 2 * config.towers) * convolution_multiply_adds(places, width, width) +
             convolution_multiply_adds(places, width, config.classes + box_values);
    ++i;
  }
  return count;
}

template <class Head>
Network head_network(Index multiply_adds, RunSize size) {
  Index values = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) values += size.images * sizes[i].places() * widths[i];
  ScratchBytes scratch = Head::scratch(size.images, sizes);
  scratch.shared += Head::saved_bytes(size.images, sizes, false);
  const auto run = [images = size.images](const Head& head, std::span<const float> input, std::span<float> output,
                                          Workspace& workspace) {
    const Arena::Scope scope(workspace.shared());
    std::vector<MatrixView> maps;
    float* next = const_cast<float*>(input.data());  // a head takes views that it could write to, and does not
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      maps.emplace_back(next, images * sizes[i].places(), widths[i]);
      next += maps.back().size();
    }
    head.forward(maps, sizes, images, Head::take_saved(images, sizes, false, workspace.shared()), output.data(),
                 workspace);
  };
  return layer_network<Head>(
      {values, Head::output_values(size.images, sizes), static_cast<double>(size.images * multiply_adds), {}, {}},
      scratch, size.threads, [](Head& head, auto visit) { Head::each_parameter(head, "head", visit); }, run);
}

template <Index width>
Network convolution(Index side, RunSize size) {
  using Layer = Convolution<width, width, window>;
  const MapSize map{side, side};
  const Index rows = size.images * map.places();
  const auto run = [=](const Layer& layer, std::span<const float> input, std::span<float> output,
                       Workspace& workspace) {
    layer.forward({input.data(), rows, width}, map, size.images, MatrixView(output.data(), rows, width), workspace);
  };
  const auto each = [](Layer& layer, auto visit) { Layer::each_parameter(layer, "layer", Role::head, visit); };
  return layer_network<Layer>(
      {rows * width, rows * width, static_cast<double>(convolution_multiply_adds(rows, width, width)), {}, {}},
      Layer::scratch(size.images, map), size.threads, each, run);
}

}  // namespace

Network upernet_head(RunSize size) {
  constexpr UperNetConfig config;
  return head_network<UperNetHead<config, widths>>(upernet_multiply_adds(config), size);
}

Network fcos_head(RunSize size) {
  constexpr FcosConfig config;
  using Head = FcosHead<config, widths, strides>;
  return head_network<Head>(fcos_multiply_adds<Head>(config), size);
}

Network convolution_3x3(Index width, Index side, RunSize size) {
  if (width == 256) return convolution<256>(side, size);
  if (width == 512) return convolution<512>(side, size);
  fail("convolution: expected 256 or 512 channels, found ", width);
}

}  // namespace moevit::bench
