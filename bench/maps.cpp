/// Layers over feature maps and the heads of dense tasks, at the widths of Swin-T and its maps of 224 or 112 pixels.
#include "common.hpp"
#include "layers/window_reference.hpp"
#include "models/dense_reference.hpp"

#include <moevit/layers/layer_norm.hpp>

#include <memory>

namespace moevit::bench {
namespace {

/// A layer of window attention with the norm before it, on maps of its stage.
template <WindowAttentionConfig config>
struct Windows {
  using Layer = WindowAttention<config>;
  static constexpr Index dim = config.dim;

  Index count, block;
  MapSize map;
  Layer attention;
  LayerNorm<dim> norm;
  std::vector<Parameter> parameters = random_parameters([this](auto visit) {
    Layer::each_parameter(attention, "attention", visit);
    LayerNorm<dim>::each_parameter(norm, "norm", visit);
  });
  Workspace workspace = Workspace(Layer::scratch(count, map));
  std::vector<std::vector<float>> x = random_inputs(count * map.places() * dim);
  std::vector<float> y = std::vector<float>(x[0].size());

  Windows(Index image_count, Index block_number, MapSize size) : count(image_count), block(block_number), map(size) {}

  /// Windows count with their padding.
  double multiply_adds() const {
    const Index padded = round_up(map.height, config.window) * round_up(map.width, config.window);
    return static_cast<double>(
        count * (padded * (3 * dim * dim + 2 * config.window * config.window * dim) + map.places() * dim * dim));
  }
  Work run(Index input) {
    y = x[static_cast<std::size_t>(input)];
    attention.forward(norm, {y.data(), count * map.places(), dim}, map, nullptr, workspace, block);
    return {.multiply_adds = multiply_adds(), .tokens = static_cast<double>(count * map.places())};
  }
  /// One image per input.
  void check(Index input) const {
    const Index first = input % count * map.places();
    const reference::Weights weights(parameters);
    const reference::Matrix image(
        ConstMatrixView(x[static_cast<std::size_t>(input)].data() + first * dim, map.places(), dim));
    const reference::WindowAttention<config> plain(weights, map, block % 2 ? config.shift : 0);
    require_close({y.data() + first * dim, map.places(), dim}, reference::add(image, plain.run(image)),
                  reference::rounding_tolerance(config.window * config.window + dim, 3));
  }
};

constexpr std::array<Index, 4> swin_widths{96, 192, 384, 768}, swin_strides{4, 8, 16, 32};
constexpr UperNetConfig upernet{.width = 128, .classes = 21};
constexpr FcosConfig fcos{.width = 128, .classes = 20};
using UperNet = UperNetHead<upernet, swin_widths>;
using Fcos = FcosHead<fcos, swin_widths, swin_strides>;

/// The maps of Swin-T for images of this side.
constexpr std::array<MapSize, 4> swin_maps(Index side) {
  std::array<MapSize, 4> sizes;
  for (std::size_t level = 0; level < sizes.size(); ++level)
    sizes[level] = MapSize{side, side}.in_cells(swin_strides[level], swin_strides[level]);
  return sizes;
}

/// A head on random maps.
template <class Head>
struct HeadRun {
  Index count;
  std::array<MapSize, 4> sizes;
  Head head;
  std::vector<Parameter> parameters =
      random_parameters([this](auto visit) { Head::each_parameter(head, "head", visit); });
  std::vector<std::vector<std::vector<float>>> values;  ///< of the maps of every input
  std::vector<float> outputs = std::vector<float>(static_cast<std::size_t>(Head::output_values(count, sizes)));
  Workspace workspace = Workspace([this] {
    ScratchBytes bytes = Head::scratch(count, sizes);
    bytes.shared += Head::saved_bytes(count, sizes, false);
    return bytes;
  }());

  HeadRun(Index image_count, Index side) : count(image_count), sizes(swin_maps(side)) {
    for (Index input = 0; input < inputs; ++input) {
      values.emplace_back();
      for (std::size_t level = 0; level < sizes.size(); ++level)
        values.back().push_back(test::normal_values(count * sizes[level].places() * swin_widths[level],
                                                    static_cast<unsigned>(10 * input) + static_cast<unsigned>(level)));
    }
  }

  Work run(Index input) {
    std::vector<MatrixView> maps;
    for (std::size_t level = 0; level < sizes.size(); ++level)
      maps.emplace_back(values[static_cast<std::size_t>(input)][level].data(), count * sizes[level].places(),
                        swin_widths[level]);
    const Arena::Scope scope(workspace.shared());
    head.forward(maps, sizes, count, Head::take_saved(count, sizes, false, workspace.shared()), outputs.data(),
                 workspace);
    return {.multiply_adds = static_cast<double>(count * Head::multiply_adds(sizes))};
  }
  /// The maps of one image.
  std::vector<reference::Maps> maps_of(Index input, Index image) const {
    std::vector<reference::Maps> maps;
    for (std::size_t level = 0; level < sizes.size(); ++level) {
      const auto size = static_cast<std::size_t>(sizes[level].places() * swin_widths[level]);
      maps.emplace_back(1, sizes[level], swin_widths[level],
                        std::span(values[static_cast<std::size_t>(input)][level])
                            .subspan(static_cast<std::size_t>(image) * size, size));
    }
    return maps;
  }
};

void check_upernet(const HeadRun<UperNet>& run, Index input) {
  const Index image = input % run.count, rows = run.sizes[0].places();
  const reference::Matrix expected =
      reference::upernet(run.maps_of(input, image), upernet, reference::Weights(run.parameters)).matrix();
  require_close({run.outputs.data() + image * rows * upernet.classes, rows, upernet.classes}, expected, 1e-4);
}

/// The logits of the classes of one image; of the boxes beside them see the tests.
void check_fcos(const HeadRun<Fcos>& run, Index input) {
  const Index image = input % run.count;
  const std::vector<double> expected =
      reference::fcos(run.maps_of(input, image), fcos, swin_strides[1], reference::Weights(run.parameters));
  const auto levels = Fcos::level_list(run.sizes);
  const FcosOutputs<const float> found(std::span<const float>(run.outputs), run.count, fcos.classes, levels);
  auto next = expected.begin();
  for (std::size_t level = 0; level < levels.size(); ++level) {
    const Index rows = levels[level].size.places(), values = rows * fcos.classes;
    const ConstMatrixView logits = found.classes(level);
    require_close({logits.row_data(image * rows), rows, fcos.classes},
                  reference::Matrix(rows, fcos.classes, {next, next + values}), 1e-4);
    next += values;
  }
}

template <Index stage>
void add_windows() {
  constexpr auto at = static_cast<std::size_t>(stage);
  constexpr WindowAttentionConfig config{
      .dim = swin_widths[at], .heads = swin_widths[at] / 32, .window = 7, .shift = stage < 3 ? 3 : 0};
  using Run = Windows<config>;
  for (const Index count : {1, 8})
    for (const Index block : {0, 1}) {
      if (block == 1 && config.shift == 0) continue;
      std::string name = std::string("maps/window_attention_D").append(std::to_string(config.dim));
      name.append(block ? "_shifted" : "").append("/B").append(std::to_string(count));
      add(name, [count, block] {
        const auto run = std::make_shared<Run>(count, block, swin_maps(224)[at]);
        return Case{[run](Index input) { return run->run(input); }, [run](Index input) { run->check(input); }};
      });
    }
}

template <class Head>
void add_head(const std::string& name, void (*check)(const HeadRun<Head>&, Index)) {
  for (const Index count : {1, 8})
    add(std::string("maps/").append(name).append("/B").append(std::to_string(count)), [count, check] {
      const auto run = std::make_shared<HeadRun<Head>>(count, 112);
      return Case{[run](Index input) { return run->run(input); }, [run, check](Index input) { check(*run, input); }};
    });
}

const bool added = [] {
  add_windows<0>(), add_windows<1>(), add_windows<2>(), add_windows<3>();
  add_head<UperNet>("upernet_D128", check_upernet);
  add_head<Fcos>("fcos_D128", check_fcos);
  return true;
}();

}  // namespace
}  // namespace moevit::bench
