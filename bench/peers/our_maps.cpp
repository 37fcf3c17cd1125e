/// Window attention and the heads of dense tasks of ours, over the maps of Swin-T at 224 pixels.
#include "our_case.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/layers/window_attention.hpp>
#include <moevit/models/fcos_head.hpp>
#include <moevit/models/packed.hpp>
#include <moevit/models/upernet_head.hpp>

namespace moevit::bench {
namespace {

constexpr std::array<Index, 4> widths{96, 192, 384, 768}, strides{4, 8, 16, 32};
constexpr std::array<MapSize, 4> sizes{MapSize{56, 56}, MapSize{28, 28}, MapSize{14, 14}, MapSize{7, 7}};

/// A layer with random weights, threads, and scratch for them.
template <class Layer>
struct LayerRun {
  Layer layer;
  std::vector<Parameter> parameters;
  ThreadPool pool;
  Workspace workspace;

  template <class Each>
  LayerRun(ScratchBytes scratch, Index threads, Each each) : pool(threads), workspace(scratch, pool) {
    each(layer, CollectParameters<float>{parameters});
    test::randomise(parameters, 7);
  }
};

/// `run`(layer run, input, output) of a case with that many values and multiply-adds; make() makes the layer run, with
/// the same weights each time.
template <class Make, class Run>
OurCase layer_case(const Request& request, Make make, Index inputs, Index outputs, Index multiply_adds, Run run) {
  const bool is_bf16 = request.precision == "bf16";
  if (request.precision != "fp32" && !is_bf16) refuse_precision(request);
  const auto in_floats = make();  // whose weights go to the other engines
  auto own = in_floats;
  if (is_bf16) {
    own = make();
    for (const auto& matrix : detail::matrices_to_pack(own->parameters)) matrix.store->convert(Bf16::of(matrix.role));
  }
  OurCase made{.input_values = inputs, .output_values = outputs, .parameters = in_floats->parameters};
  // in_floats has what made.parameters points to.
  made.run = [own, in_floats, run](std::span<const float> input, std::span<float> output) { run(*own, input, output); };
  const Cost cost{static_cast<double>(multiply_adds), bytes_read(made.parameters, 1.) * (is_bf16 ? 0.5 : 1.) +
                                                          static_cast<double>(inputs + outputs) * sizeof(float)};
  made.cost = [cost] { return cost; };
  return made;
}

struct NormedAttention {
  static constexpr WindowAttentionConfig config{.dim = widths[0], .heads = 3, .window = 7, .shift = 3};
  LayerNorm<config.dim> norm;
  WindowAttention<config> attention;
};

/// stream + attention(norm(stream)) of the shifted block of the first stage.
OurCase window_attention_case(const Request& request) {
  static constexpr WindowAttentionConfig config = NormedAttention::config;
  static constexpr MapSize map = sizes[0];
  const Index rows = request.batch * map.places(), values = rows * config.dim;
  const auto make = [&request] {
    return std::make_shared<LayerRun<NormedAttention>>(
        WindowAttention<config>::scratch(request.batch, map), request.threads, [](NormedAttention& own, auto visit) {
          LayerNorm<config.dim>::each_parameter(own.norm, "norm", visit);
          WindowAttention<config>::each_parameter(own.attention, "attention", visit);
        });
  };
  constexpr Index places = round_up(map.height, config.window) * round_up(map.width, config.window);
  constexpr Index work = places * (3 * config.dim * config.dim + 2 * config.window * config.window * config.dim) +
                         map.places() * config.dim * config.dim;
  return layer_case(request, make, values, values, request.batch * work,
                    [rows](LayerRun<NormedAttention>& own, std::span<const float> input, std::span<float> output) {
                      std::copy(input.begin(), input.end(), output.begin());
                      own.layer.attention.forward(own.layer.norm, MatrixView(output.data(), rows, config.dim), map,
                                                  nullptr, own.workspace, 1);
                    });
}

/// A head over maps that lie one behind the other in an input, the finest first.
template <class Head>
OurCase head_case(const Request& request) {
  Index values = 0;
  for (std::size_t i = 0; i < sizes.size(); ++i) values += request.batch * sizes[i].places() * widths[i];
  ScratchBytes scratch = Head::scratch(request.batch, sizes);
  scratch.shared += Head::saved_bytes(request.batch, sizes, false);
  const auto make = [&request, scratch] {
    return std::make_shared<LayerRun<Head>>(scratch, request.threads,
                                            [](Head& head, auto visit) { Head::each_parameter(head, "head", visit); });
  };
  const auto run = [images = request.batch](LayerRun<Head>& own, std::span<const float> input,
                                            std::span<float> output) {
    Arena& arena = own.workspace.shared();
    const Arena::Scope scope(arena);
    std::vector<MatrixView> maps;
    float* next = const_cast<float*>(input.data());  // a head takes views that it could write to, and does not
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      maps.emplace_back(next, images * sizes[i].places(), widths[i]);
      next += maps.back().size();
    }
    own.layer.forward(maps, sizes, images, Head::take_saved(images, sizes, false, arena), output.data(), own.workspace);
  };
  return layer_case(request, make, values, Head::output_values(request.batch, sizes),
                    request.batch * Head::multiply_adds(sizes), run);
}

}  // namespace

bool make_maps(const Request& request, OurCase& made) {
  OurCase (*make)(const Request&) = nullptr;
  if (request.name == "window_attention") make = window_attention_case;
  if (request.name == "upernet_head") make = head_case<UperNetHead<UperNetConfig{}, widths>>;
  if (request.name == "fcos_head") make = head_case<FcosHead<FcosConfig{}, widths, strides>>;
  if (!make) return false;
  return made = make(request), true;
}

}  // namespace moevit::bench
