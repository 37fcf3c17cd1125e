/// Feature maps and convolutions as plain loops in double precision.
#pragma once

#include "reference.hpp"

#include <moevit/core/convolution_window.hpp>

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
  for (Index place = 0; place < y.images * y.size.places(); ++place) {
    const MapPlace at = place_of(place, y.size);
    double* sums = y.values.data() + place * outputs;
    for (std::size_t out = 0; out < bias.size(); ++out) sums[out] = bias[out];
    for (Index tap = 0; tap < window.taps(); ++tap) {
      const Index row = at.row * window.stride - window.padding + tap / window.kernel;
      const Index column = at.column * window.stride - window.padding + tap % window.kernel;
      for (Index in = 0; in < x.channels; ++in) {
        const double value = x.padded(at.image, row, column, in);
        const double* weights = kernel.data() + (tap * x.channels + in) * (depthwise ? 1 : outputs);
        if (depthwise) sums[in] += *weights * value;
        for (Index out = 0; out < outputs && !depthwise; ++out) sums[out] += weights[out] * value;
      }
    }
  }
  return y;
}

}  // namespace moevit::reference
