/// What an optimiser remembers between two steps, apart from the optimiser: to start another run with.
#pragma once

#include <moevit/core/parameter.hpp>

#include <map>
#include <string>
#include <vector>

namespace moevit {

/// Tensors under the names that Optimizer::each_state gives them, "adam.first.NAME", and the steps that made them.
struct OptimizerState {
  Index steps = 0;
  std::map<std::string, std::vector<float>> tensors = {};
};

}  // namespace moevit
