/// Where numbers that are not finite come from.
#pragma once

#include <moevit/core/error.hpp>
#include <moevit/core/parameter.hpp>
#include <moevit/moe/context.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>

namespace moevit {
namespace detail {

inline bool is_finite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

/// The first block whose output is not finite; -1: none.
struct FirstBlock : Observer {
  int block = -1;
  void block_output(int number, ConstMatrixView stream) override {
    if (block < 0 && !is_finite({stream.data(), static_cast<std::size_t>(stream.size())})) block = number;
  }
};

/// "the values of the images", "the weights NAME", "the output of block 2", "the gradient of NAME", or "" for a pass
/// that forward() repeats in the context.
template <class Net, class Forward>
std::string find_not_finite(const Net& net, std::span<const float> images, std::span<const Parameter> gradients,
                            Context& context, Forward forward) {
  if (!is_finite(images)) return "the values of the images";
  for (const ConstParameter& parameter : net.parameters())
    if (!is_finite(parameter.values())) return "the weights " + parameter.name;
  FirstBlock first;
  try {
    context.observer = &first;
    forward();
  } catch (const Error&) {
    // A router refuses what comes from the block before, which the observer saw.
  }
  context.observer = nullptr;
  if (first.block >= 0) return "the output of block " + std::to_string(first.block);
  for (std::size_t i = gradients.size(); i-- > 0;)  // backward comes from the end
    if (!is_finite(gradients[i].values())) return "the gradient of " + gradients[i].name;
  return "";
}

}  // namespace detail
}  // namespace moevit
