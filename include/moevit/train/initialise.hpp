/// Weights of a fresh model, drawn from a seed.
///
/// Every number depends on the seed, the parameter's name and its place alone. None of the standard library's
/// distributions is used, which differ between its implementations.
#pragma once

#include <moevit/core/parameter.hpp>
#include <moevit/layers/patch_embedding.hpp>
#include <moevit/train/parameter_runs.hpp>
#include <moevit/train/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moevit {

/// Whether the experts of a bank begin with weights of their own.
enum class ExpertStart : unsigned char {
  different,  ///< each drawn for itself, as V-MoE does from scratch
  equal       ///< all the same, as upcycling makes them; only the router's choices tell them apart
};

/// Options of initialise().
struct InitialiseOptions {
  std::uint64_t seed = 1;
  ExpertStart experts = ExpertStart::different;
  double position_deviation = 0.02;  ///< of learned positions and biases by relative position
  bool zero_head = true;             ///< of the last classifier: every class is equally likely at first
};

namespace detail {

/// A number of the text's letters (FNV-1a).
inline std::uint64_t text_key(std::string_view text) {
  std::uint64_t key = 14695981039346656037u;
  for (const char letter : text) key = (key ^ static_cast<unsigned char>(letter)) * 1099511628211u;
  return key;
}

/// Standard normal, cut off at +-bound, by rejection: exp() only decides, so that its last bit never matters.
inline double cut_normal(RandomStream& random, double bound) {
  for (;;) {
    const double value = random.uniform(-bound, bound);
    if (random.uniform() < std::exp(-0.5 * value * value)) return value;
  }
}

/// How wide the layer is that a kernel belongs to, without the axis of experts.
struct Fans {
  double in = 1;
  double out = 1;
};
inline Fans fans_of(const Shape& shape, bool is_bank) {
  Fans fans;
  for (std::size_t axis = is_bank ? 1 : 0; axis + 1 < shape.size(); ++axis) fans.in *= static_cast<double>(shape[axis]);
  if (!shape.empty()) fans.out = static_cast<double>(shape.back());
  return fans;
}

inline void fill_glorot(const Fans& fans, RandomStream& random, std::span<float> values) {
  const double limit = std::sqrt(6. / (fans.in + fans.out));
  for (float& value : values) value = static_cast<float>(random.uniform(-limit, limit));
}
/// `deviation` is that of the numbers that come out; cutting at 2 would make it smaller by the factor below.
inline void fill_lecun(double fan_in, RandomStream& random, std::span<float> values) {
  const double scale = std::sqrt(1. / fan_in) / 0.87962566103423978;
  for (float& value : values) value = static_cast<float>(scale * cut_normal(random, 2));
}
inline void fill_normal(double deviation, RandomStream& random, std::span<float> values) {
  for (float& value : values) value = static_cast<float>(deviation * cut_normal(random, 6));
}

/// Draws the values of one parameter, zeros where nothing else is said.
inline void draw_parameter(const Parameter& parameter, const InitialiseOptions& options, std::span<float> values) {
  const std::string_view name = parameter.name, last = name.substr(name.rfind('.') + 1);
  RandomStream random(options.seed, text_key(name));
  const bool is_bank = parameter.matrices.size() > 1;
  if (parameter.role == Role::norm || last == "scale") {
    std::fill(values.begin(), values.end(), last == "bias" ? 0.f : 1.f);
  } else if (last == "mu") {  // of a soft router: width x experts x slots
    fill_lecun(static_cast<double>(parameter.shape.front()), random, values);
  } else if (last == "position_embedding") {
    fill_normal(options.position_deviation, random, values);
  } else if (last == "relative_position_bias") {
    fill_normal(options.position_deviation, random, values);
  } else if (last == "similarity") {  // directions of a cosine router, as Tutel draws them
    fill_normal(0.01, random, values);
  } else if (last == "temperature") {  // of a cosine router: log(1 / 0.5)
    std::fill(values.begin(), values.end(), std::log(2.f));
  } else if (last == "probe") {
    fill_glorot({1., static_cast<double>(values.size())}, random, values);
  } else if (last == "kernel" && !(options.zero_head && name == "head.kernel")) {
    const Fans fans = fans_of(parameter.shape, is_bank);
    if (parameter.role == Role::router) return fill_lecun(fans.in, random, values);
    const bool is_copied = is_bank && options.experts == ExpertStart::equal;
    const std::size_t own = is_copied ? values.size() / parameter.matrices.size() : values.size();
    fill_glorot(fans, random, values.first(own));
    for (std::size_t i = own; i < values.size(); ++i) values[i] = values[i - own];
  }
}

}  // namespace detail

/// Kernels: Glorot uniform; routers: LeCun normal, cut at two deviations; positions: normal; norms: 1; biases, class
/// token and the classifier's kernel: 0. `parameters`: all of a model. Throws Error when weights are packed.
inline void initialise(std::span<const Parameter> parameters, const InitialiseOptions& options = {}) {
  std::vector<float> values;
  for (const Parameter& parameter : parameters) {
    detail::check_trainable(parameter);
    values.assign(static_cast<std::size_t>(parameter.size()), 0.f);
    detail::draw_parameter(parameter, options, values);
    parameter.assign(values);
  }
}

/// Learned positions become the sine and cosine table of the model's grid (fill_sincos2d) times `factor`, that of a
/// class token 0: behind initialise(), a start from which small models learn faster. Throws Error when the model has no
/// learned positions, or a width that the table does not have.
inline void start_with_sine_positions(const VitConfig& config, std::span<const Parameter> parameters,
                                      float factor = 1.f) {
  if (config.positions != Positions::learned || config.dim % 4 != 0 || config.dim < 8)
    fail("sine positions: expected learned positions and a dim that is a multiple of 4 and at least 8, found dim ",
         config.dim, config.positions == Positions::learned ? "" : " without learned positions");
  for (const Parameter& parameter : parameters) {
    if (!parameter.name.ends_with("position_embedding")) continue;
    std::vector<float> values(static_cast<std::size_t>(config.tokens() * config.dim));
    const Index first = config.has_class_token() ? config.dim : 0;
    fill_sincos2d(config.grid_rows(), config.grid_columns(), config.dim, values.data() + first);
    for (float& value : values) value *= factor;
    parameter.assign(values);
  }
}

}  // namespace moevit
