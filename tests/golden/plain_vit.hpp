/// A vision transformer with run-time sizes in plain loops and double precision: the reference for loading foreign
/// weights of any size. Dense blocks, class token, learned positions; slow and short on purpose.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/parameter.hpp>

#include <cmath>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace moevit::test {

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

  const VitConfig& config() const { return config_; }

  /// Every parameter, pointing into this object.
  std::vector<Parameter> parameters() {
    std::vector<Parameter> list;
    for (const std::string& name : order_) {
      Part& part = parts_.at(name);
      const Index rows = part.shape.size() > 1 ? element_count(part.shape) / part.shape.back() : 1;
      list.push_back({name, part.shape, Role::mlp, {part.values.data()}, {rows, part.shape.back(), 0, 0}});
    }
    return list;
  }

  void fill(float value) {
    for (auto& [name, part] : parts_) std::fill(part.values.begin(), part.values.end(), value);
  }
  bool all_are(float value) const {
    for (const auto& [name, part] : parts_)
      for (const float element : part.values)
        if (!(element == value)) return false;
    return true;
  }

  /// Logits of one image, height x width x channels.
  std::vector<float> logits(std::span<const float> image) const {
    Rows x = embed(image);
    for (Index block = 0; block < config_.depth; ++block) {
      const std::string prefix = "blocks." + std::to_string(block) + ".";
      add_rows(x, attention(prefix + "attention.", norm(prefix + "norm1", x)));
      Rows hidden = linear(prefix + "mlp.hidden", norm(prefix + "norm2", x));
      for (Row& row : hidden)
        for (double& value : row) value = activate(value);
      add_rows(x, linear(prefix + "mlp.output", hidden));
    }
    const Rows y = linear("head", norm("norm", {x.front()}));
    return {y.front().begin(), y.front().end()};
  }

 private:
  using Row = std::vector<double>;
  using Rows = std::vector<Row>;
  struct Part {
    Shape shape;
    std::vector<float> values;
  };

  void add(const std::string& name, const Shape& shape) {
    order_.push_back(name);
    parts_[name] = {shape, std::vector<float>(static_cast<std::size_t>(element_count(shape)))};
  }
  void add_norm(const std::string& name) {
    add(name + ".scale", {config_.dim});
    add(name + ".bias", {config_.dim});
  }
  void add_linear(const std::string& name, Index in, Index out, bool bias) {
    add(name + ".kernel", {in, out});
    if (bias) add(name + ".bias", {out});
  }

  double value(const std::string& name, Index i) const { return parts_.at(name).values[static_cast<std::size_t>(i)]; }

  double activate(double x) const {
    switch (config_.activation) {
      case Activation::gelu_erf:
        return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      case Activation::gelu_tanh:
        return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      case Activation::gelu_quick:
        return x / (1 + std::exp(-1.702 * x));
      case Activation::relu:
        return std::max(x, 0.0);
    }
    return x;
  }

  static void add_rows(Rows& x, const Rows& y) {
    for (std::size_t row = 0; row < x.size(); ++row)
      for (std::size_t i = 0; i < x[row].size(); ++i) x[row][i] += y[row][i];
  }

  Rows embed(std::span<const float> image) const {
    const Index dim = config_.dim, height = config_.patch_height(), width = config_.patch_width_pixels();
    Rows x(static_cast<std::size_t>(config_.tokens()), Row(static_cast<std::size_t>(dim)));
    for (Index d = 0; d < dim; ++d) x[0][static_cast<std::size_t>(d)] = value("class_token", d);
    for (Index patch = 0; patch < config_.patches(); ++patch)
      for (Index d = 0; d < dim; ++d) {
        double sum = value("patch_embedding.bias", d);
        for (Index i = 0; i < height * width * config_.channels; ++i) {
          const Index row = patch / config_.grid_columns() * height + i / (width * config_.channels);
          const Index within = i % (width * config_.channels);
          const Index at = (row * config_.width() + patch % config_.grid_columns() * width) * config_.channels + within;
          sum +=
              static_cast<double>(image[static_cast<std::size_t>(at)]) * value("patch_embedding.kernel", i * dim + d);
        }
        x[static_cast<std::size_t>(patch + 1)][static_cast<std::size_t>(d)] = sum;
      }
    for (std::size_t token = 0; token < x.size(); ++token)
      for (std::size_t d = 0; d < x[token].size(); ++d)
        x[token][d] += value("position_embedding", static_cast<Index>(token) * dim + static_cast<Index>(d));
    return x;
  }

  Rows norm(const std::string& name, Rows x) const {
    for (Row& row : x) {
      double mean = 0, variance = 0;
      for (const double v : row) mean += v / static_cast<double>(row.size());
      for (const double v : row) variance += (v - mean) * (v - mean) / static_cast<double>(row.size());
      for (std::size_t d = 0; d < row.size(); ++d)
        row[d] = (row[d] - mean) / std::sqrt(variance + static_cast<double>(config_.epsilon)) *
                     value(name + ".scale", static_cast<Index>(d)) +
                 value(name + ".bias", static_cast<Index>(d));
    }
    return x;
  }

  Rows linear(const std::string& name, const Rows& x) const {
    const Part& kernel = parts_.at(name + ".kernel");
    const auto out = static_cast<std::size_t>(kernel.shape[1]);
    Rows y(x.size(), Row(out));
    for (std::size_t row = 0; row < x.size(); ++row)
      for (std::size_t o = 0; o < out; ++o) {
        double sum = parts_.contains(name + ".bias") ? value(name + ".bias", static_cast<Index>(o)) : 0.0;
        for (std::size_t i = 0; i < x[row].size(); ++i)
          sum += x[row][i] * static_cast<double>(kernel.values[i * out + o]);
        y[row][o] = sum;
      }
    return y;
  }

  Rows attention(const std::string& name, const Rows& x) const {
    const Rows q = linear(name + "query", x), k = linear(name + "key", x), v = linear(name + "value", x);
    const auto width = static_cast<std::size_t>(config_.width_per_head()),
               heads = static_cast<std::size_t>(config_.heads);
    Rows mixed(x.size(), Row(q.front().size()));
    for (std::size_t head = 0; head < heads; ++head)
      for (std::size_t token = 0; token < x.size(); ++token) {
        Row weight(x.size());
        double sum = 0;
        for (std::size_t other = 0; other < x.size(); ++other) {
          double dot = 0;
          for (std::size_t i = head * width; i < (head + 1) * width; ++i) dot += q[token][i] * k[other][i];
          sum += weight[other] = std::exp(dot / std::sqrt(static_cast<double>(width)));
        }
        for (std::size_t other = 0; other < x.size(); ++other)
          for (std::size_t i = head * width; i < (head + 1) * width; ++i)
            mixed[token][i] += weight[other] / sum * v[other][i];
      }
    return linear(name + "output", mixed);
  }

  VitConfig config_;
  std::vector<std::string> order_;
  std::map<std::string, Part> parts_;
};

}  // namespace moevit::test
