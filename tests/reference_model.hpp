/// Layers and whole models as plain loops in double precision, over named parameters of any model.
#pragma once

#include "reference.hpp"

#include <moevit/core/description.hpp>
#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>

#include <map>
#include <numeric>
#include <string>

namespace moevit::reference {

/// Parameters by name: the last axis as columns, all others as rows.
class Weights {
 public:
  template <class T>
  explicit Weights(const std::vector<BasicParameter<T>>& parameters) {
    for (const BasicParameter<T>& parameter : parameters) {
      const Index cols = parameter.shape.empty() ? 1 : parameter.shape.back();
      matrices_.emplace(parameter.name, Matrix(parameter.size() / cols, cols, to_double(parameter.values())));
    }
  }

  bool has(const std::string& name) const { return matrices_.contains(name); }
  const Matrix& matrix(const std::string& name) const {
    if (!has(name)) fail("reference weights: there is no parameter ", name);
    return matrices_.at(name);
  }
  const Values& operator[](const std::string& name) const { return matrix(name).values; }
  /// Empty when the parameter is absent, as a bias may be.
  Values optional(const std::string& name) const { return has(name) ? (*this)[name] : Values{}; }
  Matrix linear(const Matrix& x, const std::string& prefix) const {
    return reference::linear(x, matrix(prefix + ".kernel"), optional(prefix + ".bias"));
  }
  Matrix layer_norm(const Matrix& x, const std::string& prefix, const VitConfig& vit) const {
    return reference::layer_norm(x, (*this)[prefix + ".scale"], optional(prefix + ".bias"),
                                 static_cast<double>(vit.epsilon));
  }

 private:
  std::map<std::string, Matrix> matrices_;
};

inline Matrix activate(Matrix x, Activation activation) {
  for (double& value : x.values) value = activate(activation, value);
  return x;
}

inline Matrix mlp(const Matrix& x, const Weights& weights, const std::string& prefix, Activation activation) {
  return weights.linear(activate(weights.linear(x, prefix + ".hidden"), activation), prefix + ".output");
}

/// The MLP of one expert among those stacked under `prefix`.
inline Matrix expert_mlp(const Matrix& x, const Weights& weights, const std::string& prefix, Index expert,
                         Activation activation) {
  const auto layer = [&](const Matrix& input, const std::string& name) {
    const Matrix kernel = weights.matrix(prefix + name + ".kernel").rows_of(expert * input.cols, input.cols);
    if (!weights.has(prefix + name + ".bias")) return linear(input, kernel, {});
    return linear(input, kernel, weights.matrix(prefix + name + ".bias").rows_of(expert, 1).values);
  };
  return layer(activate(layer(x, ".hidden"), activation), ".output");
}

/// Attention of query rows over tokens, both D wide.
inline Matrix attention(const Matrix& queries, const Matrix& tokens, const Weights& weights, const std::string& prefix,
                        const VitConfig& vit) {
  const Matrix q = weights.linear(queries, prefix + ".query"), k = weights.linear(tokens, prefix + ".key"),
               v = weights.linear(tokens, prefix + ".value");
  const Index width = vit.width_per_head();
  const auto normalise = [&](Matrix part, const std::string& name) {
    return vit.qk_norm == QkNorm::none ? part : weights.layer_norm(part, prefix + name, vit);
  };
  Matrix mixed(queries.rows, vit.attention_width());
  for (Index head = 0; head < vit.heads; ++head) {
    const Matrix head_q = normalise(q.cols_of(head * width, width), ".query_norm"),
                 head_k = normalise(k.cols_of(head * width, width), ".key_norm");
    const Matrix part =
        attention_head(head_q, head_k, v.cols_of(head * width, width), 1. / std::sqrt(static_cast<double>(width)));
    for (Index row = 0; row < mixed.rows; ++row) std::copy_n(part.row(row), width, mixed.row(row) + head * width);
  }
  return weights.linear(mixed, prefix + ".output");
}

/// x + scale * addend, an absent scale being 1.
inline Matrix add(Matrix x, const Matrix& addend, const Values& scale = {}) {
  for (Index r = 0; r < x.rows; ++r)
    for (Index c = 0; c < x.cols; ++c)
      x(r, c) += addend(r, c) * (scale.empty() ? 1. : scale[static_cast<std::size_t>(c)]);
  return x;
}

/// The fixed positions of V-MoE: sines and cosines of the column, then of the row, with falling frequencies.
inline Matrix sincos2d(const VitConfig& vit) {
  Matrix table(vit.patches(), vit.dim);
  const Index quarter = vit.dim / 4;
  for (Index patch = 0; patch < vit.patches(); ++patch)
    for (Index i = 0; i < vit.dim; ++i) {
      const Index place = i < 2 * quarter ? patch % vit.grid_columns() : patch / vit.grid_columns();
      const double angle = static_cast<double>(place) *
                           std::pow(10000., -static_cast<double>(i % quarter) / static_cast<double>(quarter - 1));
      table(patch, i) = i / quarter % 2 == 0 ? std::sin(angle) : std::cos(angle);
    }
  return table;
}

/// The tokens of one image, height x width x channels.
inline Matrix patch_embedding(std::span<const float> image, const Weights& weights, const VitConfig& vit) {
  Matrix patches(vit.patches(), vit.patch_values());
  for (Index y = 0; y < vit.height(); ++y)
    for (Index x = 0; x < vit.width(); ++x)
      for (Index channel = 0; channel < vit.channels; ++channel) {
        const Index patch = y / vit.patch_height() * vit.grid_columns() + x / vit.patch_width_pixels();
        const Index inside =
            (y % vit.patch_height() * vit.patch_width_pixels() + x % vit.patch_width_pixels()) * vit.channels + channel;
        patches(patch, inside) =
            static_cast<double>(image[static_cast<std::size_t>((y * vit.width() + x) * vit.channels + channel)]);
      }
  Matrix embedded = weights.linear(patches, "patch_embedding");
  if (vit.positions == Positions::sincos2d) embedded = add(embedded, sincos2d(vit));
  Matrix tokens(vit.tokens(), vit.dim);
  if (vit.has_class_token()) std::copy_n(weights["class_token"].data(), vit.dim, tokens.row(0));
  std::copy_n(embedded.row(0), vit.patches() * vit.dim, tokens.row(vit.tokens() - vit.patches()));
  return vit.positions == Positions::learned ? add(tokens, weights.matrix("position_embedding")) : tokens;
}

/// Experts of the largest gates, falling; ties to the lower one.
inline std::vector<Index> largest(const double* gates, Index count, Index k) {
  std::vector<Index> experts(static_cast<std::size_t>(count));
  std::iota(experts.begin(), experts.end(), Index{0});
  std::stable_sort(experts.begin(), experts.end(), [&](Index a, Index b) { return gates[a] > gates[b]; });
  experts.resize(static_cast<std::size_t>(k));
  return experts;
}

/// Sum over the k best experts of gate * expert(x), nothing dropped. `gates`: one row for each row of x, or one for
/// all.
inline Matrix sparse_mlp(const Matrix& x, const Matrix& gates, const Weights& weights, const std::string& prefix,
                         const ModelDescription& model) {
  Matrix y(x.rows, x.cols);
  for (Index expert = 0; expert < gates.cols; ++expert) {
    std::vector<Index> own;
    Matrix input(0, x.cols);
    for (Index row = 0; row < x.rows; ++row) {
      const std::vector<Index> chosen = largest(gates.row(gates.rows == 1 ? 0 : row), gates.cols, model.moe.selected);
      if (std::find(chosen.begin(), chosen.end(), expert) == chosen.end()) continue;
      own.push_back(row);
      input.values.insert(input.values.end(), x.row(row), x.row(row) + x.cols);
      ++input.rows;
    }
    if (own.empty()) continue;
    const Matrix output = expert_mlp(input, weights, prefix, expert, model.vit.activation);
    for (Index i = 0; i < output.rows; ++i) {
      const Index row = own[static_cast<std::size_t>(i)];
      const double gate = model.moe.scale_by_gate ? gates(gates.rows == 1 ? 0 : row, expert) : 1.;
      for (Index c = 0; c < y.cols; ++c) y(row, c) += gate * output(i, c);
    }
  }
  return y;
}

inline Matrix router_gates(const Matrix& x, const Weights& weights, const std::string& prefix) {
  Matrix gates = weights.linear(x, prefix);
  for (Index row = 0; row < gates.rows; ++row) softmax_row(gates.row(row), gates.cols, 1.);
  return gates;
}

/// Rows [first, rows) of x averaged.
inline Matrix mean_of(const Matrix& x, Index first = 0) {
  Matrix mean(1, x.cols);
  for (Index row = first; row < x.rows; ++row)
    for (Index c = 0; c < x.cols; ++c) mean(0, c) += x(row, c) / static_cast<double>(x.rows - first);
  return mean;
}

/// Norm, pooling, optional tanh layer and classifier of one image's tokens.
inline Matrix head(const Matrix& tokens, const Weights& weights, const VitConfig& vit) {
  Matrix features(1, vit.dim);
  const Index first = vit.unread_class_token ? 1 : 0;
  if (vit.head == Head::mean && vit.final_norm == FinalNorm::after_pooling)
    features = weights.layer_norm(mean_of(tokens, first), "norm", vit);
  else {
    const Matrix normed = weights.layer_norm(tokens, "norm", vit);
    features = vit.head == Head::mean ? mean_of(normed, first) : normed.rows_of(0, 1);
    if (vit.head == Head::map) {
      const Matrix pooled = attention(weights.matrix("map_head.probe"), normed, weights, "map_head.attention", vit);
      features =
          add(pooled, mlp(weights.layer_norm(pooled, "map_head.norm", vit), weights, "map_head.mlp", vit.activation));
    }
  }
  if (vit.representation) {
    features = weights.linear(features, "representation");
    for (double& value : features.values) value = std::tanh(value);
  }
  return vit.classes ? weights.linear(features, "head") : features;
}

/// One block of one image's token stream; `image_gates` are those of a Mobile V-MoE's router.
inline Matrix block(const Matrix& stream, Index number, const Weights& weights, const ModelDescription& model,
                    const Matrix& image_gates) {
  const VitConfig& vit = model.vit;
  const std::string prefix = "blocks." + std::to_string(number);
  const Matrix normed = weights.layer_norm(stream, prefix + ".norm1", vit);
  const Matrix middle =
      add(stream, attention(normed, normed, weights, prefix + ".attention", vit), weights.optional(prefix + ".scale1"));
  const Matrix x = weights.layer_norm(middle, prefix + ".norm2", vit);
  const Values scale = weights.optional(prefix + ".scale2");
  if (model.family == ModelFamily::vit || !model.moe.placement.contains(number, vit.depth))
    return add(middle, mlp(x, weights, prefix + ".mlp", vit.activation), scale);
  const Matrix gates =
      model.family == ModelFamily::mobile_vmoe ? image_gates : router_gates(x, weights, prefix + ".moe.router");
  return add(middle, sparse_mlp(x, gates, weights, prefix + ".moe.experts", model), scale);
}

/// The outputs of one image for Vit, VMoe with the top-k router and MobileVMoe, nothing dropped.
inline Matrix forward(std::span<const float> image, const Weights& weights, const ModelDescription& model) {
  Matrix stream = patch_embedding(image, weights, model.vit);
  Matrix image_gates(1, model.moe.experts);
  for (Index number = 0; number < model.vit.depth; ++number) {
    if (model.family == ModelFamily::mobile_vmoe && number == model.moe.placement.first(model.vit.depth))
      image_gates = router_gates(model.moe.router_input == RouterInput::mean ? mean_of(stream) : stream.rows_of(0, 1),
                                 weights, "router");
    stream = block(stream, number, weights, model, image_gates);
  }
  return head(stream, weights, model.vit);
}

}  // namespace moevit::reference
