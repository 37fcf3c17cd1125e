/// What the tests of dense heads share.
#pragma once

#include "layers/map_reference.hpp"
#include "models/reference_heads.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

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
