/// Parameters of a model that is none, for tests of optimisers.
#pragma once

#include <moevit/core/aligned_buffer.hpp>
#include <moevit/layers/linear.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace moevit::test {

/// A list of parameters that begin as zeros: matrices in panels, as layers keep them, the others plain.
class PanelParameters {
 public:
  /// Adds one; with `stacked`, the first axis of three is a stack of matrices.
  void add(const std::string& name, const Shape& shape, Role role) {
    if (shape.size() < 2) {
      float* data = buffers_.emplace_back(std::max(element_count(shape), Index{1})).data();
      list_.push_back(plain_parameter<float>(name, data, shape, role));
      return;
    }
    const Index cols = shape.back(), stack = shape.size() > 2 ? shape.front() : 1;
    const Index rows = element_count(shape) / cols / stack;
    Parameter parameter{name, shape, role, {}, {.rows = rows, .cols = cols, .panel = simd::panel_width(cols)}};
    for (Index i = 0; i < stack; ++i)
      parameter.matrices.push_back(buffers_.emplace_back(simd::packed_size(rows, cols)).data());
    list_.push_back(std::move(parameter));
  }

  std::vector<Parameter>& list() { return list_; }

  /// Whether everything that is no element of a parameter is still zero.
  bool padding_is_zero() {
    std::vector<std::vector<float>> values;
    for (const Parameter& parameter : list_) {
      values.push_back(parameter.values());
      parameter.assign(std::vector<float>(values.back().size(), 0.f));
    }
    bool all_zero = true;
    for (const AlignedBuffer<float>& buffer : buffers_)
      for (const float value : buffer.span()) all_zero = all_zero && value == 0.f;
    for (std::size_t i = 0; i < list_.size(); ++i) list_[i].assign(values[i]);
    return all_zero;
  }

 private:
  std::vector<AlignedBuffer<float>> buffers_;  // their contents stay where they are when the vector grows
  std::vector<Parameter> list_;
};

}  // namespace moevit::test
