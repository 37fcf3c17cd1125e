/// Experts that images are sent to in place of what a Mobile V-MoE's router chooses, for ablations.
#pragma once

#include <moevit/core/mix_bits.hpp>
#include <moevit/train/targets.hpp>
#include <moevit/train/trainer_options.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace moevit {

/// Assigns an expert to every image of a batch as RouterTraining::routing says.
class ImageExperts {
 public:
  /// `super_classes`: of each class, empty where routing does not need them. `seed`: of random experts.
  ImageExperts(ImageRouting routing, std::vector<std::int32_t> super_classes, Index experts, std::uint64_t seed)
      : routing_(routing), super_classes_(std::move(super_classes)), experts_(experts), seed_(seed) {
    if (routing_ == ImageRouting::super_class && super_classes_.empty())
      fail("routing by super-class: expected a super-class for each class, found none");
  }

  /// What RoutingOptions::assigned is to be, valid until the next call: empty where the router chooses. An image's
  /// random expert depends on the seed and its number in the data set; its true super-class is the heaviest of its
  /// targets. targets: images x classes.
  std::span<const std::int32_t> assign(std::span<const Index> numbers, ConstMatrixView targets) {
    if (routing_ == ImageRouting::learned) return {};
    experts_of_.resize(numbers.size());
    if (routing_ == ImageRouting::random)
      std::transform(numbers.begin(), numbers.end(), experts_of_.begin(),
                     [this](Index number) { return random_expert(number); });
    else
      assign_super_classes(targets);
    return experts_of_;
  }

 private:
  std::int32_t random_expert(Index number) const {
    return static_cast<std::int32_t>(detail::stream_of(seed_, number) % static_cast<std::uint64_t>(experts_));
  }
  void assign_super_classes(ConstMatrixView targets) {
    shares_.resize(static_cast<std::size_t>(targets.rows() * experts_));
    super_class_targets(targets, super_classes_, MatrixView(shares_.data(), targets.rows(), experts_));
    for (Index image = 0; image < targets.rows(); ++image) {
      const float* row = shares_.data() + image * experts_;
      experts_of_[static_cast<std::size_t>(image)] =
          static_cast<std::int32_t>(std::max_element(row, row + experts_) - row);
    }
  }

  ImageRouting routing_;
  std::vector<std::int32_t> super_classes_;
  Index experts_;
  std::uint64_t seed_;
  std::vector<std::int32_t> experts_of_;
  std::vector<float> shares_;
};

}  // namespace moevit
