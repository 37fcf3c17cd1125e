/// Calibration: which matrices stand int8, told by a handful of images.
#pragma once

#include <moevit/models/packed.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace moevit {

/// How far a calibrated model may be from the float32 one.
struct CalibrationOptions {
  double largest_error = 0.01;  ///< |logits - logits in float32| / |logits in float32| over all images
  Index threads = 1;
};

/// What calibrate() found.
struct Calibration {
  std::vector<Storage> storages;  ///< of all matrices that a policy is for, in the order of the parameters
  double error = 0.;              ///< relative error of the logits with these
  Index lifted = 0;               ///< matrices in bfloat16 that the policy would have in int8
};

namespace detail {

/// Runs models on the calibration images, and compares with float32.
template <StoragePolicy Policy, class Net>
class Calibrator {
 public:
  Calibrator(const Net& net, std::span<const float> images, const CalibrationOptions& options)
      : net_(net), images_(images), options_(options), expected_(run(net)) {}

  /// Relative error of the logits when matrices are stored so.
  double error(const std::vector<Storage>& storages) const {
    const std::vector<float> found = run(Packed<Net, Policy>(net_, storages));
    double difference = 0., size = 0.;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double expected = expected_[i], step = static_cast<double>(found[i]) - expected;
      difference += step * step;
      size += expected * expected;
    }
    return size > 0. ? std::sqrt(difference / size) : std::sqrt(difference);
  }

 private:
  template <class Model>
  std::vector<float> run(const Model& model) const {
    const Index count = static_cast<Index>(images_.size()) / Net::config.image_values();
    std::vector<float> logits(static_cast<std::size_t>(count * Net::outputs_per_image * Net::config.outputs()));
    Context context = model.context({.images = std::max<Index>(count, 1), .threads = options_.threads});
    model.forward(images_, logits, context);
    return logits;
  }

  const Net& net_;
  std::span<const float> images_;
  CalibrationOptions options_;
  std::vector<float> expected_;
};

}  // namespace detail

/// Finds which matrices that Policy keeps in int8 must be bfloat16 for the logits of these images to stay within
/// options.largest_error of float32: those first whose lifting helps most, all experts of a layer together. images: N x
/// height x width x channels, normalised, N >= 1. Where bfloat16 alone is further away than that, all are lifted, and
/// `error` says so. Takes about two forward passes per parameter. Throws Error when sizes do not fit the model.
template <StoragePolicy Policy, class Net>
Calibration calibrate(const Net& net, std::span<const float> images, const CalibrationOptions& options = {}) {
  if (images.empty()) fail("calibration: expected at least one image, found none");
  const detail::Calibrator<Policy, Net> calibrator(net, images, options);
  const auto matrices = detail::packed_matrices(net);
  Calibration result;
  for (const auto& matrix : matrices) result.storages.push_back(Policy::of(matrix.role));
  const auto lifted = [&](std::vector<Storage> storages, std::size_t parameter) {
    for (std::size_t i = 0; i < matrices.size(); ++i)
      if (matrices[i].parameter == parameter && storages[i] == Storage::int8) storages[i] = Storage::bfloat16;
    return storages;
  };
  result.error = calibrator.error(result.storages);
  if (result.error <= options.largest_error) return result;
  std::vector<std::pair<double, std::size_t>> order;  // error when lifted alone, parameter
  for (std::size_t i = 0; i < matrices.size(); ++i)
    if (result.storages[i] == Storage::int8 && (order.empty() || order.back().second != matrices[i].parameter))
      order.emplace_back(calibrator.error(lifted(result.storages, matrices[i].parameter)), matrices[i].parameter);
  std::sort(order.begin(), order.end());
  for (const auto& [alone, parameter] : order) {
    if (result.error <= options.largest_error) break;
    result.storages = lifted(result.storages, parameter);
    result.error = calibrator.error(result.storages);
  }
  for (std::size_t i = 0; i < matrices.size(); ++i) result.lifted += result.storages[i] != Policy::of(matrices[i].role);
  return result;
}

/// A copy of `net` with its weights stored as a calibration for the same policy found.
template <StoragePolicy Policy, class Net>
Packed<Net, Policy> pack(const Net& net, const Calibration& calibration) {
  return Packed<Net, Policy>(net, calibration.storages);
}

}  // namespace moevit
