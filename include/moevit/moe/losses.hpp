/// Auxiliary losses of routers, each over one group of tokens.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/tensor.hpp>
#include <moevit/moe/assign.hpp>
#include <moevit/simd/softmax.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace moevit {

namespace detail {

/// (population standard deviation / mean)^2.
inline double squared_variation(std::span<const double> values) {
  double sum = 0, squares = 0;
  for (double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  for (double value : values) squares += (value - mean) * (value - mean);
  return squares / static_cast<double>(values.size()) / (mean * mean);
}

}  // namespace detail

/// Importance loss: (std / mean)^2 over the experts of the summed clean gates (S x E). V-MoE, appendix A.2.
inline double importance_loss(ConstMatrixView clean_gates) {
  std::vector<double> importance(static_cast<std::size_t>(clean_gates.cols()), 0.);
  for (Index token = 0; token < clean_gates.rows(); ++token)
    for (Index expert = 0; expert < clean_gates.cols(); ++expert)
      importance[static_cast<std::size_t>(expert)] += static_cast<double>(clean_gates(token, expert));
  return detail::squared_variation(importance);
}

/// Load loss: (std / mean)^2 of the probability that each expert would be among the k best if its noise of standard
/// deviation `deviation` were drawn again. The threshold is the k-th largest noisy logit. logits, noisy: S x E. V-MoE,
/// appendix A.2.
inline double load_loss(ConstMatrixView logits, ConstMatrixView noisy, Index k, double deviation) {
  if (!(deviation > 0)) fail("load loss: expected a noise deviation above 0, found ", deviation);
  std::vector<double> load(static_cast<std::size_t>(logits.cols()), 0.);
  for (Index token = 0; token < logits.rows(); ++token) {
    float threshold = 0.f;
    detail::visit_largest(noisy.row_data(token), noisy.cols(), k,
                          [&](Index, Index, float value) { threshold = value; });
    for (Index expert = 0; expert < logits.cols(); ++expert) {
      const double z = (static_cast<double>(threshold) - static_cast<double>(logits(token, expert))) / deviation;
      load[static_cast<std::size_t>(expert)] += 0.5 * std::erfc(z / std::sqrt(2.)) / static_cast<double>(logits.rows());
    }
  }
  return detail::squared_variation(load);
}

/// GShard loss: E * sum over experts of mean gate * share of tokens that like the expert best. gates: S x E.
inline double gshard_loss(ConstMatrixView gates) {
  std::vector<double> mean(static_cast<std::size_t>(gates.cols()), 0.), share = mean;
  const double weight = 1. / static_cast<double>(gates.rows());
  for (Index token = 0; token < gates.rows(); ++token) {
    detail::visit_largest(gates.row_data(token), gates.cols(), 1,
                          [&](Index, Index expert, float) { share[static_cast<std::size_t>(expert)] += weight; });
    for (Index expert = 0; expert < gates.cols(); ++expert)
      mean[static_cast<std::size_t>(expert)] += weight * static_cast<double>(gates(token, expert));
  }
  double sum = 0;
  for (std::size_t expert = 0; expert < mean.size(); ++expert) sum += mean[expert] * share[expert];
  return sum * static_cast<double>(gates.cols());
}

/// Router z-loss: mean over tokens of logsumexp(logits)^2. ST-MoE (Zoph et al. 2022), equation 5.
inline double router_z_loss(ConstMatrixView logits) {
  double sum = 0;
  for (Index token = 0; token < logits.rows(); ++token) {
    const float* row = logits.row_data(token);
    const double top = static_cast<double>(*std::max_element(row, row + logits.cols()));
    double exponentials = 0;
    for (Index expert = 0; expert < logits.cols(); ++expert)
      exponentials += std::exp(static_cast<double>(row[expert]) - top);
    const double value = top + std::log(exponentials);
    sum += value * value;
  }
  return sum / static_cast<double>(logits.rows());
}

/// Weights of the losses of a router; a weight of 0 leaves its loss out.
struct AuxiliaryLossWeights {
  double importance = 0.005;
  double load = 0.005;
  double gshard = 0;
  double z = 0;  ///< ST-MoE: 0.001
};

/// The losses of a router over one group; `load` only with noise.
struct AuxiliaryLosses {
  double importance = 0;
  double load = 0;
  double gshard = 0;
  double z = 0;
  double total = 0;  ///< weighted sum
};

/// All losses of a group from its logits (S x E, without noise) and noisy logits (S x E, or no rows without noise).
/// noise_std is the router's; E the number of experts a token can choose from. Importance and
/// z-loss are of the clean logits, as noise is nothing that a router could make smaller; GShard is of those that
/// routed. A model adds this up over its sparse blocks and takes the mean over groups. Source: V-MoE's code.
inline AuxiliaryLosses auxiliary_losses(ConstMatrixView logits, ConstMatrixView noisy, Index k, double noise_std,
                                        const AuxiliaryLossWeights& weights = {}) {
  RowMajorMatrix gates(logits.rows(), logits.cols());
  const auto softmax = [&](ConstMatrixView source) {
    for (Index row = 0; row < source.rows(); ++row)
      simd::softmax_row(source.row_data(row), source.cols(), 1.f, gates.data() + row * gates.cols());
    return ConstMatrixView(gates.data(), gates.rows(), gates.cols());
  };
  AuxiliaryLosses losses;
  losses.importance = importance_loss(softmax(logits));
  losses.gshard = gshard_loss(softmax(noisy.rows() ? noisy : logits));
  losses.z = router_z_loss(logits);
  if (noisy.rows()) losses.load = load_loss(logits, noisy, k, noise_std / static_cast<double>(logits.cols()));
  if (weights.importance > 0) losses.total += weights.importance * losses.importance;
  if (weights.gshard > 0) losses.total += weights.gshard * losses.gshard;
  if (weights.load > 0) losses.total += weights.load * losses.load;
  if (weights.z > 0) losses.total += weights.z * losses.z;
  return losses;
}

}  // namespace moevit
