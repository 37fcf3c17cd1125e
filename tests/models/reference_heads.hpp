/// Dense heads and their parts as plain loops in double precision.
#pragma once

#include "layers/reference_maps.hpp"
#include "reference_model.hpp"

#include <moevit/models/fcos_head.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace moevit::reference {

/// Calls f(image, row, column, channel) for all values of a map.
template <class F>
void each_value(const Maps& map, F f) {
  for (Index image = 0; image < map.images; ++image)
    for (Index row = 0; row < map.size.height; ++row)
      for (Index column = 0; column < map.size.width; ++column)
        for (Index channel = 0; channel < map.channels; ++channel) f(image, row, column, channel);
}

/// Adaptive average pooling.
inline Maps pool(const Maps& x, MapSize size) {
  Maps y(x.images, size, x.channels);
  each_value(y, [&](Index image, Index row, Index column, Index channel) {
    const Index top = row * x.size.height / size.height, left = column * x.size.width / size.width;
    const Index bottom = ceil_div((row + 1) * x.size.height, size.height),
                right = ceil_div((column + 1) * x.size.width, size.width);
    double sum = 0.;
    for (Index i = top; i < bottom; ++i)
      for (Index j = left; j < right; ++j) sum += x.padded(image, i, j, channel);
    y.at(image, row, column, channel) = sum / static_cast<double>((bottom - top) * (right - left));
  });
  return y;
}

/// Bilinear resizing between the centres of places.
inline Maps resize(const Maps& x, MapSize size) {
  Maps y(x.images, size, x.channels);
  const auto position = [](Index place, Index from, Index to) {
    const double at = (static_cast<double>(place) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
    return std::clamp(at, 0., static_cast<double>(from - 1));
  };
  each_value(y, [&](Index image, Index row, Index column, Index channel) {
    const double r = position(row, x.size.height, size.height), c = position(column, x.size.width, size.width);
    const auto top = static_cast<Index>(r), left = static_cast<Index>(c);
    const double down = r - std::floor(r), across = c - std::floor(c);
    y.at(image, row, column, channel) = (1. - down) * ((1. - across) * x.padded(image, top, left, channel) +
                                                       across * x.padded(image, top, left + 1, channel)) +
                                        down * ((1. - across) * x.padded(image, top + 1, left, channel) +
                                                across * x.padded(image, top + 1, left + 1, channel));
  });
  return y;
}

/// Channels of several maps of one size, side by side.
inline Maps beside(const std::vector<Maps>& parts) {
  Index channels = 0;
  for (const Maps& part : parts) channels += part.channels;
  Maps all(parts[0].images, parts[0].size, channels);
  Index first = 0;
  for (const Maps& part : parts) {
    each_value(part, [&](Index image, Index row, Index column, Index channel) {
      all.at(image, row, column, first + channel) = part.padded(image, row, column, channel);
    });
    first += part.channels;
  }
  return all;
}

inline Maps sum(Maps a, const Maps& b) {
  for (std::size_t i = 0; i < a.values.size(); ++i) a.values[i] += b.values[i];
  return a;
}

inline Maps relu(Maps x) {
  for (double& value : x.values) value = std::max(value, 0.);
  return x;
}

inline Maps group_norm(const Maps& x, Index groups, const Values& scale, const Values& bias, double epsilon) {
  Maps y = x;
  const Index width = x.channels / groups;
  for (Index image = 0; image < x.images; ++image)
    for (Index group = 0; group < groups; ++group) {
      Values values;
      const auto each = [&](auto f) {
        for (Index place = 0; place < x.size.places(); ++place)
          for (Index i = 0; i < width; ++i)
            f(y.at(image, place / x.size.width, place % x.size.width, group * width + i),
              static_cast<std::size_t>(group * width + i));
      };
      each([&](double& value, std::size_t) { values.push_back(value); });
      const Values ones(values.size(), 1.);
      layer_norm_row(values.data(), std::ssize(values), ones, {}, epsilon);
      std::size_t next = 0;
      each([&](double& value, std::size_t channel) { value = values[next++] * scale[channel] + bias[channel]; });
    }
  return y;
}

inline Maps convolution(const Maps& x, const Weights& weights, const std::string& prefix,
                        const ConvolutionWindow& window) {
  const Values bias = weights.optional(prefix + ".bias");
  return convolution(x, weights[prefix + ".kernel"], bias, window, weights.matrix(prefix + ".kernel").cols, false);
}

inline Maps normed_convolution(const Maps& x, const Weights& weights, const std::string& prefix,
                               const ConvolutionWindow& window, Index groups) {
  return relu(group_norm(convolution(x, weights, prefix, window), groups, weights[prefix + ".norm.scale"],
                         weights[prefix + ".norm.bias"], 1e-5));
}

/// A UPerNet head in the order of the paper's figure.
inline Maps upernet(const std::vector<Maps>& maps, const Weights& weights, Index classes, Index groups) {
  std::vector<Maps> merged = maps;
  const Maps& last = maps.back();
  std::vector<Maps> parts{last};
  for (const Index side : {1, 2, 3, 6}) {
    const Maps reduced = normed_convolution(pool(last, {side, side}), weights, "head.pooling." + std::to_string(side),
                                            {1, 1, 0}, groups);
    parts.push_back(resize(reduced, last.size));
  }
  merged.back() = normed_convolution(beside(parts), weights, "head.pooling.bottleneck", {3, 1, 1}, groups);
  for (std::size_t level = maps.size() - 1; level-- > 0;)
    merged[level] =
        sum(normed_convolution(maps[level], weights, "head.lateral." + std::to_string(level), {1, 1, 0}, groups),
            resize(merged[level + 1], maps[level].size));
  for (std::size_t level = 0; level + 1 < maps.size(); ++level)
    merged[level] =
        normed_convolution(merged[level], weights, "head.smoothing." + std::to_string(level), {3, 1, 1}, groups);
  for (Maps& map : merged) map = resize(map, maps[0].size);
  const Maps fused = normed_convolution(beside(merged), weights, "head.fusion", {3, 1, 1}, groups);
  return convolution(fused, weights["head.classifier.kernel"], weights["head.classifier.bias"], {1, 1, 0}, classes,
                     false);
}

/// Levels of the pyramid, the finest first.
inline std::vector<Maps> pyramid(std::vector<Maps> maps, std::size_t extra, const Weights& weights) {
  const auto name = [](const char* part, std::size_t i) {
    return std::string("head.pyramid.") + part + std::to_string(i);
  };
  for (std::size_t i = maps.size(); i-- > 0;) {
    const bool is_last = i + 1 == maps.size();
    maps[i] = convolution(maps[i], weights, name("lateral.", i), {1, 1, 0});
    if (!is_last) maps[i] = sum(maps[i], resize(maps[i + 1], maps[i].size));
  }
  for (std::size_t i = 0; i < maps.size(); ++i)
    maps[i] = convolution(maps[i], weights, name("smoothing.", i), {3, 1, 1});
  for (std::size_t i = 0; i < extra; ++i)
    maps.push_back(convolution(i == 0 ? maps.back() : relu(maps.back()), weights, name("coarser.", i), {3, 2, 1}));
  return maps;
}

/// The outputs of an FCOS head in its order: classes of all rows, then boxes of all rows.
inline Values fcos(const std::vector<Maps>& maps, const Weights& weights, const FcosConfig& config, double stride) {
  // stride: pixels between places of the first level
  const auto first = maps.begin() + config.first_stage;
  const std::vector<Maps> levels = pyramid({first, maps.end()}, static_cast<std::size_t>(config.extra_levels), weights);
  Values classes, boxes;
  for (std::size_t level = 0; level < levels.size(); ++level, stride *= 2) {
    const auto tower = [&](const std::string& kind, const std::string& end) {
      Maps x = levels[level];
      for (Index i = 0; i < config.towers; ++i)
        x = normed_convolution(x, weights, "head." + kind + "_tower." + std::to_string(i), {3, 1, 1}, config.groups);
      return convolution(x, weights, "head." + end, {3, 1, 1});
    };
    const Maps own = tower("class", "classes");
    classes.insert(classes.end(), own.values.begin(), own.values.end());
    Maps sides = tower("box", "boxes");
    const double scale = weights["head.levels." + std::to_string(level) + ".scale"][0];
    for (std::size_t i = 0; i < sides.values.size(); ++i)
      if (i % 5 < 4) sides.values[i] = stride * std::exp(std::min(scale * sides.values[i], 10.));
    boxes.insert(boxes.end(), sides.values.begin(), sides.values.end());
  }
  classes.insert(classes.end(), boxes.begin(), boxes.end());
  return classes;
}

}  // namespace moevit::reference
