/// What the tests of typed golden cases share: keys, loading of parameters, layers.
#pragma once

#include "golden/router_outputs.hpp"
#include "golden/typed.hpp"

#include <moevit/io/load_parameters.hpp>

#include <functional>
#include <string>
#include <vector>

namespace moevit::test {

/// The key that generate.py registered a case's type under.
inline std::string key_of(const std::filesystem::path& directory, const std::string& name) {
  return std::filesystem::canonical(directory).string() + "#" + name;
}
inline std::string key_of(const GoldenCase& golden) { return key_of(golden.directory, golden.name); }

/// The tensors below "params/" under other names; those that `rename` gives no name are left out.
inline TensorFile renamed_parameters(const GoldenCase& golden,
                                     const std::function<std::string(const std::string&)>& rename) {
  std::vector<StoredTensor> tensors;
  for (StoredTensor tensor : golden.tensors.tensors()) {
    if (!tensor.name.starts_with("params/")) continue;
    tensor.name = rename(tensor.name.substr(7));
    if (!tensor.name.empty()) tensors.push_back(std::move(tensor));
  }
  return TensorFile(golden.directory / golden.file, nullptr, std::move(tensors));
}

/// Loads a layer's parameters, strictly.
inline void load_layer(AnyLayer& layer, const TensorFile& file, Naming naming) {
  load_parameters(layer.parameters(), layer.description(), file, {.naming = naming});
}

/// y of a layer, in the shape of x, and the context it ran in.
struct LayerResult {
  std::vector<float> y;
  Context context;

  const Routing& routing() const { return context.routing_of(0); }
};

/// Runs a layer on inputs/x, whose last axes are tokens and width; `copies` of each image follow each other.
inline LayerResult run_layer(const GoldenCase& golden, const AnyLayer& layer, const RoutingOptions& options,
                             Index copies = 1) {
  const Shape& shape = golden.shape("inputs/x");
  const std::vector<float> x = golden.floats("inputs/x");
  const Index width = shape.back(), tokens = shape[shape.size() - 2], rows = std::ssize(x) / width;
  std::vector<float> y(x.size());
  const LayerInput input{ConstMatrixView(x.data(), rows, width), rows / tokens / copies, tokens, options};
  Context context = layer.run(input, MatrixView(y.data(), rows, width));
  return {std::move(y), std::move(context)};
}

/// The logits of a case's images. `observer` may be null.
inline std::vector<float> logits_of(const GoldenCase& golden, const AnyModel& model, Observer* observer) {
  const std::vector<float> images = golden.floats("inputs/images");
  const Index count = golden.shape("inputs/images")[0];
  std::vector<float> logits(static_cast<std::size_t>(element_count(golden.shape("outputs/logits"))));
  Context context = model.context({.images = count});
  context.observer = observer;
  model.forward(images, logits, context);
  return logits;
}

}  // namespace moevit::test
