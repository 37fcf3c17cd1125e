/// What makes networks from models and layers.
#pragma once

#include "hierarchical/network.hpp"
#include "random_values.hpp"

#include <moevit/core/thread_pool.hpp>
#include <moevit/core/workspace.hpp>
#include <moevit/layers/layer_norm.hpp>
#include <moevit/models/counts.hpp>
#include <moevit/models/packed.hpp>
#include <moevit/models/presets.hpp>

#include <memory>

namespace moevit::bench {

/// `net` has the parameters, `model` is the same or a packed form of it.
template <ModelDescription description, class Net, class Forward>
Network forward_network(std::shared_ptr<Net> net, std::shared_ptr<Forward> model, RunSize size) {
  const auto context = std::make_shared<Context>(model->context({.images = size.images, .threads = size.threads}));
  return {.input_values = size.images * Net::config.image_values(),
          .output_values = size.images * Net::config.outputs(),
          .multiply_adds = static_cast<double>(size.images) * multiply_adds(description),
          .parameters = net->parameters(),
          .run = [net, model, context](std::span<const float> input, std::span<float> output) {
            model->forward(input, output, *context);
          }};
}

template <ModelDescription description>
Network model_network(const std::string& precision, RunSize size) {
  using Net = Model<description>;
  const auto net = std::make_shared<Net>();
  test::randomise(net->parameters(), 7);
  const auto packed = [&]<class Policy>(Policy) {
    return forward_network<description>(net, std::make_shared<Packed<Net, Policy>>(*net), size);
  };
  if (precision == "fp32") return forward_network<description>(net, net, size);
  if (precision == "bf16") return packed(Bf16{});
  if (precision == "bf16 weights") return packed(Bf16Weights{});
  if (precision == "int8") return packed(Int8{});
  fail("precision: expected fp32, bf16, bf16 weights or int8, found '", precision, "'");
}

/// Threads, and scratch for them.
class Workers {
 public:
  Workers(ScratchBytes scratch, Index threads) : pool_(threads), workspace_(scratch, pool_) {}
  Workspace& workspace() { return workspace_; }

 private:
  ThreadPool pool_;
  Workspace workspace_;
};

/// run(layer, input, output, workspace) on a layer with random weights; each(layer, visit) lists its parameters.
template <class Layer, class Each, class Run>
Network layer_network(Network network, ScratchBytes scratch, Index threads, Each each, Run run) {
  const auto layer = std::make_shared<Layer>();
  const auto workers = std::make_shared<Workers>(scratch, threads);
  each(*layer, [&](auto&& parameter) { network.parameters.push_back(std::forward<decltype(parameter)>(parameter)); });
  test::randomise(network.parameters, 7);
  network.run = [layer, workers, run](std::span<const float> input, std::span<float> output) {
    run(std::as_const(*layer), input, output, workers->workspace());
  };
  return network;
}

/// A layer norm and the attention over maps behind it.
template <class Attention>
struct NormedAttention {
  LayerNorm<Attention::dim> norm;
  Attention attention;
};

/// stream + attention(norm(stream)) for maps of one size.
template <class Attention>
Network attention_network(MapSize map, Index block, Index multiply_adds, RunSize size) {
  using Layer = NormedAttention<Attention>;
  const Index rows = size.images * (map.places() + Attention::class_tokens), values = rows * Attention::dim;
  const auto each = [](Layer& layer, auto visit) {
    LayerNorm<Attention::dim>::each_parameter(layer.norm, "norm", visit);
    Attention::each_parameter(layer.attention, "attention", visit);
  };
  const auto run = [=](const Layer& layer, std::span<const float> input, std::span<float> output,
                       Workspace& workspace) {
    std::copy(input.begin(), input.end(), output.begin());
    layer.attention.forward(layer.norm, MatrixView(output.data(), rows, Attention::dim), map, nullptr, workspace,
                            block);
  };
  return layer_network<Layer>({values, values, static_cast<double>(size.images * multiply_adds), {}, {}},
                              Attention::scratch(size.images, map), size.threads, each, run);
}

}  // namespace moevit::bench
