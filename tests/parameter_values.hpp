/// The values of all parameters of a model as one list, to compare models by.
#pragma once

#include <moevit/core/parameter.hpp>

#include <vector>

namespace moevit::test {

/// One parameter after the other, in the model's order.
template <class Net>
std::vector<float> values_of(const Net& net) {
  std::vector<float> all;
  for (const ConstParameter& parameter : net.parameters()) {
    const std::vector<float> values = parameter.values();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

}  // namespace moevit::test
