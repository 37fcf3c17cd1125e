/// The parameters of a dense vision transformer with run-time sizes: what foreign weights of any size are loaded into.
#pragma once

#include "reference_model.hpp"

#include <moevit/core/description.hpp>
#include <moevit/core/parameter.hpp>

#include <algorithm>
#include <list>
#include <span>
#include <string>
#include <vector>

namespace moevit::test {

/// Dense blocks, class token, learned positions; run by the plain loops of reference_model.hpp.
class PlainVit {
 public:
  explicit PlainVit(const VitConfig& config) : config_(config) {
    const Index dim = config.dim, wide = config.attention_width();
    add("patch_embedding.kernel", {config.patch_height(), config.patch_width_pixels(), config.channels, dim});
    add("patch_embedding.bias", {dim});
    add("class_token", {dim});
    add("position_embedding", {config.tokens(), dim});
    for (Index block = 0; block < config.depth; ++block) {
      const std::string prefix = "blocks." + std::to_string(block) + ".";
      add_norm(prefix + "norm1");
      for (const char* part : {"query", "key", "value"})
        add_linear(prefix + "attention." + part, dim, wide, config.qkv_bias);
      add_linear(prefix + "attention.output", wide, dim, true);
      add_norm(prefix + "norm2");
      add_linear(prefix + "mlp.hidden", dim, config.hidden, true);
      add_linear(prefix + "mlp.output", config.hidden, dim, true);
    }
    add_norm("norm");
    add_linear("head", dim, config.classes, true);
  }

  ModelDescription description() const { return {ModelFamily::vit, config_, {}}; }
  /// Every parameter, pointing into this object.
  const std::vector<Parameter>& parameters() const { return parameters_; }

  void fill(float value) {
    for (std::vector<float>& values : storage_) std::fill(values.begin(), values.end(), value);
  }
  bool all_are(float value) const {
    return std::all_of(storage_.begin(), storage_.end(), [&](const std::vector<float>& values) {
      return std::all_of(values.begin(), values.end(), [&](float element) { return element == value; });
    });
  }

  /// Logits of one image, height x width x channels.
  std::vector<float> logits(std::span<const float> image) const {
    const reference::Matrix outputs = reference::forward(image, reference::Weights(parameters_), description());
    return {outputs.values.begin(), outputs.values.end()};
  }

 private:
  void add(const std::string& name, const Shape& shape) {
    std::vector<float>& values = storage_.emplace_back(static_cast<std::size_t>(element_count(shape)));
    const Index columns = shape.back();
    parameters_.push_back({name, shape, Role::mlp, {values.data()}, {std::ssize(values) / columns, columns, 0, 0}});
  }
  void add_norm(const std::string& name) {
    add(name + ".scale", {config_.dim});
    add(name + ".bias", {config_.dim});
  }
  void add_linear(const std::string& name, Index in, Index out, bool bias) {
    add(name + ".kernel", {in, out});
    if (bias) add(name + ".bias", {out});
  }

  VitConfig config_;
  std::list<std::vector<float>> storage_;  // a list: its elements never move
  std::vector<Parameter> parameters_;
};

}  // namespace moevit::test
