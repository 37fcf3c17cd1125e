/// Parts of dense heads as plain loops in double precision, and what the tests of heads share.
#pragma once

#include "layers/map_reference.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
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

}  // namespace moevit::reference

namespace moevit::test {

/// Passes of a head over random maps, within the scratch it says.
template <class Head>
class HeadPass {
 public:
  using Sizes = typename Head::Sizes;

  template <std::size_t count>
  HeadPass(Index images, const Sizes& sizes, const std::array<Index, count>& widths)
      : images_(images), sizes_(sizes), widths_(widths.begin(), widths.end()) {
    for (std::size_t i = 0; i < count; ++i)
      maps_.push_back(normal_values(images * sizes[i].places() * widths[i], static_cast<unsigned>(20 + i)));
    cotangent_ = normal_values(Head::output_values(images, sizes), 9);
  }

  std::vector<reference::Maps> reference_maps() const { return reference_maps(maps_); }

  /// Outputs, and the gradients of all maps and all parameters of the cotangent, one behind the other.
  std::vector<float> run(const Head& head, std::vector<float>& outputs) {
    ScratchBytes scratch = one_after_the_other(Head::scratch(images_, sizes_), Head::training_scratch(images_, sizes_));
    scratch.shared += Head::saved_bytes(images_, sizes_, true);
    return run_with_threads(scratch, [&](Workspace& workspace) {
      const Arena::Scope scope(workspace.shared());
      const typename Head::Saved saved = Head::take_saved(images_, sizes_, true, workspace.shared());
      outputs.assign(cotangent_.size(), 77.f);
      const std::vector<MatrixView> maps = views(maps_);
      head.forward(maps, sizes_, images_, saved, outputs.data(), workspace);
      std::vector<std::vector<float>> d_maps = maps_;
      for (auto& map : d_maps) std::fill(map.begin(), map.end(), 77.f);
      Head grads;
      const auto list = collect([&](auto visit) { Head::each_parameter(grads, "head", visit); });
      for (const Parameter& p : list) p.assign(std::vector<float>(static_cast<std::size_t>(p.size()), 0.f));
      const std::vector<MatrixView> d_views = views(d_maps);
      head.backward(maps, sizes_, images_, saved, cotangent_.data(), grads, d_views, workspace);
      std::vector<float> all = outputs;
      for (std::size_t i = 0; i < d_maps.size(); ++i)
        if (Head::reads(i)) all.insert(all.end(), d_maps[i].begin(), d_maps[i].end());
      for (const Parameter& p : list) {
        const std::vector<float> values = p.values();
        all.insert(all.end(), values.begin(), values.end());
      }
      return all;
    });
  }

  void forward_only(const Head& head, std::vector<float>& outputs) {
    ScratchBytes scratch = Head::scratch(images_, sizes_);
    scratch.shared += Head::saved_bytes(images_, sizes_, false);
    Workspace workspace(scratch);
    const typename Head::Saved saved = Head::take_saved(images_, sizes_, false, workspace.shared());
    const std::vector<MatrixView> maps = views(maps_);
    head.forward(maps, sizes_, images_, saved, outputs.data(), workspace);
  }

  /// Compares what run() returned with differences of function(maps, weights), the outputs.
  template <class Function>
  void check_gradients(const std::vector<float>& all, const std::vector<Parameter>& parameters, Function function) {
    auto next = all.begin() + std::ssize(cotangent_);
    const auto take = [&](std::size_t count) {
      std::vector<float> part(next, next + static_cast<std::ptrdiff_t>(count));
      next += static_cast<std::ptrdiff_t>(count);
      return part;
    };
    const auto check = [&](const std::string& name, const std::vector<float>& values, auto of) {
      check_gradient({name, values, take(values.size()), of, [] { return true; }, 2e-4}, 3);
    };
    const reference::Weights weights(parameters);
    for (std::size_t i = 0; i < maps_.size(); ++i)
      if (Head::reads(i))
        check("map " + std::to_string(i), maps_[i], [&](std::span<const float> values) {
          std::vector<std::vector<float>> moved = maps_;
          moved[i].assign(values.begin(), values.end());
          return weighted_sum(function(reference_maps(moved), weights), cotangent_);
        });
    for (const Parameter& parameter : parameters) {
      const std::vector<float> own = parameter.values();
      check(parameter.name, own, [&](std::span<const float> values) {
        parameter.assign(values);
        const double result = weighted_sum(function(reference_maps(maps_), reference::Weights(parameters)), cotangent_);
        parameter.assign(own);
        return result;
      });
    }
    CHECK(next == all.end());
  }

 private:
  std::vector<reference::Maps> reference_maps(const std::vector<std::vector<float>>& maps) const {
    std::vector<reference::Maps> result;
    for (std::size_t i = 0; i < maps.size(); ++i) result.emplace_back(images_, sizes_[i], widths_[i], maps[i]);
    return result;
  }
  std::vector<MatrixView> views(std::vector<std::vector<float>>& maps) const {
    std::vector<MatrixView> result;
    for (std::size_t i = 0; i < maps.size(); ++i)
      result.emplace_back(maps[i].data(), Head::reads(i) ? images_ * sizes_[i].places() : 0, widths_[i]);
    return result;
  }

  Index images_;
  Sizes sizes_;
  std::vector<Index> widths_;
  std::vector<std::vector<float>> maps_;
  std::vector<float> cotangent_;
};

}  // namespace moevit::test
