/// The values of all parameters of a model as one list, to compare models by.
#pragma once

#include <moevit/core/parameter.hpp>

#include <vector>

namespace moevit::test {

/// One parameter after the other.
template <class T>
std::vector<float> values_of(const std::vector<BasicParameter<T>>& parameters) {
  std::vector<float> all;
  for (const BasicParameter<T>& parameter : parameters) {
    const std::vector<float> values = parameter.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}
/// The same for a model, in its order.
template <class Net>
std::vector<float> values_of(const Net& net) {
  return values_of(net.parameters());
}

}  // namespace moevit::test
