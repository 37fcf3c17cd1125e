/// Feature maps and convolutions as plain loops in double precision.
#pragma once

#include "reference.hpp"

#include <moevit/core/convolution_window.hpp>
#include <moevit/core/map_size.hpp>

#include <span>

namespace moevit::reference {

/// A map of `channels` channels, images x height x width x channels.
struct Maps {
  Index images = 0;
  MapSize size;
  Index channels = 0;
  Values values;

  Maps(Index count, MapSize extent, Index width)
      : images(count),
        size(extent),
        channels(width),
        values(static_cast<std::size_t>(count * extent.places() * width)) {}
  Maps(Index count, MapSize extent, Index width, std::span<const float> elements)
      : images(count), size(extent), channels(width), values(elements.begin(), elements.end()) {}

  double& at(Index image, Index row, Index column, Index channel) {
    return values[static_cast<std::size_t>(((image * size.height + row) * size.width + column) * channels + channel)];
  }
  /// Zero outside of the map.
  double padded(Index image, Index row, Index column, Index channel) const {
    if (row < 0 || row >= size.height || column < 0 || column >= size.width) return 0.;
    return const_cast<Maps&>(*this).at(image, row, column, channel);
  }
  Matrix matrix() const { return {images * size.places(), channels, values}; }
};

/// kernel: k x k x inputs x outputs, or, for a depth-wise convolution, k x k x inputs.
inline Maps convolution(const Maps& x, const Values& kernel, const Values& bias, const ConvolutionWindow& window,
                        Index outputs, bool depthwise) {
  Maps y(x.images, window.result_size(x.size), outputs);
  for (Index image = 0; image < y.images; ++image)
    for (Index row = 0; row < y.size.height; ++row)
      for (Index column = 0; column < y.size.width; ++column)
        for (Index out = 0; out < outputs; ++out) {
          double sum = bias.empty() ? 0. : bias[static_cast<std::size_t>(out)];
          for (Index i = 0; i < window.kernel; ++i)
            for (Index j = 0; j < window.kernel; ++j)
              for (Index in = depthwise ? out : 0; in < (depthwise ? out + 1 : x.channels); ++in) {
                const Index tap = i * window.kernel + j;
                const Index weight = depthwise ? tap * outputs + out : (tap * x.channels + in) * outputs + out;
                sum += kernel[static_cast<std::size_t>(weight)] *
                       x.padded(image, row * window.stride - window.padding + i,
                                column * window.stride - window.padding + j, in);
              }
          y.at(image, row, column, out) = sum;
        }
  return y;
}

}  // namespace moevit::reference
