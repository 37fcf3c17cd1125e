/// Gradients of the auxiliary losses of moe/losses.hpp to the logits of a router, each over one group of tokens.
///
/// Each function adds weight * gradient to d_logits (S x E) and computes in double precision. No tokens: nothing is
/// added. Each throws Error naming the token when a logit is not finite, and when shapes differ.
#pragma once

#include <moevit/core/finite.hpp>
#include <moevit/moe/losses.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <span>
#include <string_view>
#include <vector>

namespace moevit {

namespace detail {

inline void check_gradient(std::string_view what, ConstMatrixView logits, ConstMatrixView d_logits) {
  require_finite(what, logits);
  require_same_shape(what, logits, d_logits);
}

inline void add_to(float& place, double value) { place = static_cast<float>(static_cast<double>(place) + value); }

/// Gradient of squared_variation. Equal values are at its minimum: there it is exactly 0, where the reference, which
/// goes through the root in the standard deviation, has 0/0.
inline std::vector<double> squared_variation_gradient(std::span<const double> values) {
  std::vector<double> gradient(values.size(), 0.);
  if (std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) == values.end()) return gradient;
  const double count = static_cast<double>(values.size()), loss = squared_variation(values);
  double mean = 0;
  for (const double value : values) mean += value / count;
  for (std::size_t i = 0; i < values.size(); ++i)
    gradient[i] = 2. / (count * mean * mean) * (values[i] - mean - loss * mean);
  return gradient;
}

/// softmax of one row; returns its logsumexp.
inline double gates_in_double(const float* logits, std::span<double> gates) {
  const double top = static_cast<double>(*std::max_element(logits, logits + gates.size()));
  double sum = 0;
  for (std::size_t i = 0; i < gates.size(); ++i) sum += gates[i] = std::exp(static_cast<double>(logits[i]) - top);
  for (double& gate : gates) gate /= sum;
  return top + std::log(sum);
}

/// d_logits += J^T d_gates for every token, J being the Jacobian of softmax(logits) and d_gates the same for all
/// tokens.
inline void add_through_softmax(ConstMatrixView logits, std::span<const double> d_gates, MatrixView d_logits) {
  std::vector<double> gates(d_gates.size());
  for (Index token = 0; token < logits.rows(); ++token) {
    gates_in_double(logits.row_data(token), gates);
    double mean = 0;
    for (std::size_t i = 0; i < gates.size(); ++i) mean += gates[i] * d_gates[i];
    for (std::size_t i = 0; i < gates.size(); ++i) add_to(d_logits.row_data(token)[i], gates[i] * (d_gates[i] - mean));
  }
}

/// How the load of one token depends on its logits.
struct TokenLoad {
  Index selected = 0;             ///< the expert whose noisy logit is the threshold
  std::vector<double> quantiles;  ///< z = (threshold - logit) / deviation, by expert
};

inline void find_token_load(const float* logits, const float* noisy, Index k, double deviation, TokenLoad& result) {
  float threshold = 0.f;
  const auto experts = static_cast<Index>(result.quantiles.size());
  visit_largest(noisy, experts, k, [&](Index, Index expert, float value) {
    threshold = value;
    result.selected = expert;
  });
  for (std::size_t i = 0; i < result.quantiles.size(); ++i)
    result.quantiles[i] = (static_cast<double>(threshold) - static_cast<double>(logits[i])) / deviation;
}

}  // namespace detail

/// Gradient of importance_loss(softmax(logits)). logits: S x E, clean.
inline void add_importance_gradient(ConstMatrixView logits, double weight, MatrixView d_logits) {
  detail::check_gradient("importance loss", logits, d_logits);
  if (logits.rows() == 0) return;
  std::vector<double> gates(static_cast<std::size_t>(logits.cols())), importance(gates.size(), 0.);
  for (Index token = 0; token < logits.rows(); ++token) {
    detail::gates_in_double(logits.row_data(token), gates);
    for (std::size_t i = 0; i < gates.size(); ++i) importance[i] += gates[i];
  }
  std::vector<double> d_gates = detail::squared_variation_gradient(importance);
  for (double& value : d_gates) value *= weight;
  detail::add_through_softmax(logits, d_gates, d_logits);
}

/// Gradient of load_loss: to the clean logits, and to the one whose noisy value is the threshold, as noise is constant.
inline void add_load_gradient(ConstMatrixView logits, ConstMatrixView noisy, Index k, double deviation, double weight,
                              MatrixView d_logits) {
  detail::check_gradient("load loss", logits, d_logits);
  detail::check_gradient("noisy logits of the load loss", noisy, logits);
  if (!(deviation > 0)) fail("load loss: expected a noise deviation above 0, found ", deviation);
  if (k < 1 || k > logits.cols()) fail("load loss: expected k from 1 to ", logits.cols(), ", found ", k);
  const auto experts = static_cast<std::size_t>(logits.cols());
  const double tokens = static_cast<double>(logits.rows());
  detail::TokenLoad token_load{.selected = 0, .quantiles = std::vector<double>(experts)};
  const auto visit_tokens = [&](auto visit) {
    for (Index token = 0; token < logits.rows(); ++token) {
      detail::find_token_load(logits.row_data(token), noisy.row_data(token), k, deviation, token_load);
      visit(d_logits.row_data(token));
    }
  };
  std::vector<double> load(experts, 0.);
  visit_tokens([&](float*) {
    for (std::size_t i = 0; i < experts; ++i)
      load[i] += 0.5 * std::erfc(token_load.quantiles[i] / std::numbers::sqrt2) / tokens;
  });
  const std::vector<double> d_load = detail::squared_variation_gradient(load);
  const double scale = weight / (tokens * deviation * std::sqrt(2. * std::numbers::pi));
  visit_tokens([&](float* d_row) {
    double d_threshold = 0;
    for (std::size_t i = 0; i < experts; ++i) {
      const double z = token_load.quantiles[i], change = scale * d_load[i] * std::exp(-0.5 * z * z);
      detail::add_to(d_row[i], change);
      d_threshold -= change;
    }
    detail::add_to(d_row[token_load.selected], d_threshold);
  });
}

/// Gradient of gshard_loss(softmax(logits)): through the mean gates; the shares of tokens are constants. logits: S x E,
/// those that routed.
inline void add_gshard_gradient(ConstMatrixView logits, double weight, MatrixView d_logits) {
  detail::check_gradient("GShard loss", logits, d_logits);
  std::vector<float> gates(static_cast<std::size_t>(logits.cols()));
  std::vector<double> d_gates(gates.size(), 0.);
  const double tokens = static_cast<double>(logits.rows());
  for (Index token = 0; token < logits.rows(); ++token) {
    simd::softmax_row(logits.row_data(token), logits.cols(), 1.f, gates.data());  // ties as gshard_loss finds them
    const auto best = std::max_element(gates.begin(), gates.end()) - gates.begin();
    d_gates[static_cast<std::size_t>(best)] += weight * static_cast<double>(logits.cols()) / (tokens * tokens);
  }
  detail::add_through_softmax(logits, d_gates, d_logits);
}

/// Gradient of router_z_loss. logits: S x E.
inline void add_router_z_gradient(ConstMatrixView logits, double weight, MatrixView d_logits) {
  detail::check_gradient("router z-loss", logits, d_logits);
  std::vector<double> gates(static_cast<std::size_t>(logits.cols()));
  for (Index token = 0; token < logits.rows(); ++token) {
    const double log_sum = detail::gates_in_double(logits.row_data(token), gates);
    const double scale = weight * 2. * log_sum / static_cast<double>(logits.rows());
    for (std::size_t i = 0; i < gates.size(); ++i) detail::add_to(d_logits.row_data(token)[i], scale * gates[i]);
  }
}

/// Gradient of auxiliary_losses(...).total with the same arguments; losses of weight 0 are left out.
inline void add_auxiliary_gradient(ConstMatrixView logits, ConstMatrixView noisy, Index k, double noise_std,
                                   const AuxiliaryLossWeights& weights, double weight, MatrixView d_logits) {
  if (weights.importance > 0) add_importance_gradient(logits, weight * weights.importance, d_logits);
  if (weights.gshard > 0) add_gshard_gradient(noisy.rows() ? noisy : logits, weight * weights.gshard, d_logits);
  if (weights.load > 0 && noisy.rows())
    add_load_gradient(logits, noisy, k, noise_std / static_cast<double>(logits.cols()), weight * weights.load,
                      d_logits);
  if (weights.z > 0) add_router_z_gradient(logits, weight * weights.z, d_logits);
}

}  // namespace moevit
