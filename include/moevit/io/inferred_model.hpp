/// What was found out about the model of a weights file.
#pragma once

#include <moevit/core/description.hpp>
#include <moevit/core/error.hpp>
#include <moevit/io/naming/ours.hpp>

#include <string>
#include <vector>

namespace moevit {

/// What a file says about its model, and what had to be assumed because no file of that naming says it.
struct InferredModel {
  ModelDescription description;
  std::string naming;
  std::vector<std::string> assumptions;  // sentences; empty for files of ours
};

}  // namespace moevit
