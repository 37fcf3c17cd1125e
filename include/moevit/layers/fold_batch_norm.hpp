/// Convolution and the batch norm behind it as one convolution.
#pragma once

#include <moevit/layers/batch_norm.hpp>
#include <moevit/layers/convolution.hpp>

#include <vector>

namespace moevit {

/// The convolution with a bias that does what `convolution` and then `norm`, with its running statistics, do. It is a
/// copy: made anew when weights or statistics change. Throws Error when the weights are packed.
template <Index inputs, Index outputs, ConvolutionWindow window>
Convolution<inputs, outputs, window, true> folded(const Convolution<inputs, outputs, window, false>& convolution,
                                                  const BatchNorm<outputs>& norm, float epsilon) {
  std::vector<float> kernel, own(static_cast<std::size_t>(window.taps() * inputs * outputs)),
      bias(static_cast<std::size_t>(outputs));
  convolution.each_parameter(convolution, "", Role::mlp, [&](const ConstParameter& parameter) {
    if (!parameter.matrices.front()) fail("folding a batch norm: expected a kernel in float32, found a packed one");
    kernel = parameter.values();
  });
  norm.fold(kernel.data(), window.taps() * inputs, epsilon, own.data(), bias.data());
  Convolution<inputs, outputs, window, true> result;
  result.each_parameter(result, "", Role::mlp, [&](const Parameter& parameter) {
    parameter.assign(parameter.shape.size() == 4 ? own : bias);
  });
  return result;
}

}  // namespace moevit
